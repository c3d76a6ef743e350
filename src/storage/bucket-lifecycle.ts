import { createHash } from 'node:crypto';
import {
  GetBucketLifecycleConfigurationCommand,
  type GetBucketLifecycleConfigurationCommandOutput,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { statusOf } from './bucket-client.ts';
import type { ExpiryRule } from './object-store.ts';

const DAY_SECONDS = 86_400;

/** The files of tasks that still wait are kept for longer than others, which a store cannot know. */
const MARGIN_DAYS = 7;

/** The longest name that a rule may have. */
const ID_LENGTH = 255;

function ruleFor(prefix: string, days: number): LifecycleRule & { ID: string } {
  return {
    ID: `recognize ${prefix}`.slice(0, ID_LENGTH),
    Status: 'Enabled',
    Filter: { Prefix: prefix },
    Expiration: { Days: days },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: MARGIN_DAYS },
  };
}

function has({ Rules: rules = [] }: Present, wanted: LifecycleRule): boolean {
  return rules.some((rule) => rule.ID === wanted.ID && isSame(rule, wanted));
}

/** Some stores leave out what is said of uploads in parts. */
function isSame(rule: LifecycleRule, wanted: LifecycleRule): boolean {
  return (
    rule.Status === wanted.Status &&
    rule.Filter?.Prefix === wanted.Filter?.Prefix &&
    rule.Expiration?.Days === wanted.Expiration?.Days
  );
}

type Present = Pick<GetBucketLifecycleConfigurationCommandOutput, 'Rules' | 'TransitionDefaultMinimumObjectSize'>;

function read(client: S3Client, bucket: string, abortSignal: AbortSignal): Promise<Present> {
  return client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), { abortSignal }).catch((error) => {
    // A bucket without rules is answered so.
    if (statusOf(error) === 404 && (error as Error).name === 'NoSuchLifecycleConfiguration') return {};
    throw error;
  });
}

async function replace(
  client: S3Client,
  bucket: string,
  present: Present,
  Rules: LifecycleRule[],
  abortSignal: AbortSignal,
) {
  const { TransitionDefaultMinimumObjectSize: size } = present;
  const command = new PutBucketLifecycleConfigurationCommand({
    Bucket: bucket,
    LifecycleConfiguration: { Rules },
    ...(size === undefined ? {} : { TransitionDefaultMinimumObjectSize: size }),
  });
  // Ceph and others take rules with this header only, in place of which the SDK sends a newer checksum.
  command.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { body: string; headers: Record<string, string> };
      request.headers['content-md5'] = createHash('md5').update(request.body).digest('base64');
      return next(args);
    },
    { step: 'build', name: 'contentMd5' },
  );
  await client.send(command, { abortSignal });
}

/**
 * Sees to it that the bucket has a rule by which the store removes objects below `prefix`, and what is left of uploads
 * in parts. Other rules stay as they are; nothing is written where the rule is there.
 */
export async function keepExpiryRule(
  client: S3Client,
  bucket: string,
  prefix: string,
  seconds: number,
  signal: AbortSignal,
): Promise<ExpiryRule> {
  const days = Math.ceil(seconds / DAY_SECONDS) + MARGIN_DAYS;
  const rule = ruleFor(prefix, days);
  const present = await read(client, bucket, signal);
  const { Rules: rules = [] } = present;
  if (has(present, rule)) return { days, isNew: false };
  await replace(client, bucket, present, [...rules.filter(({ ID }) => ID !== rule.ID), rule], signal);
  // Rules can only be written all at once: another service may have done so in the same moment.
  if (!has(await read(client, bucket, signal), rule)) throw new Error('somebody else has written the rules just now');
  return { days, isNew: true };
}
