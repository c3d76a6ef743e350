import { HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { StartError } from '../errors.ts';
import type { Logger } from '../log.ts';

export type BucketSettings = {
  bucket: string;
  /** What every key begins with: empty, or ends with a slash. */
  prefix: string;
  endpoint: string | undefined;
  forcePathStyle: boolean;
  /** Undefined: as the SDK finds it in its shared configuration files. */
  region: string | undefined;
  /** Undefined: from shared files, or from the role of the machine, container or service account. */
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined;
};

/** A connection is made within so many ms, and does not stay silent for longer. */
const CONNECT_MS = 3000;
const SILENCE_MS = 15_000;

/** Tries of a request, the first one included; the SDK waits a little longer before each. */
const TRIES = 3;

/** How long a start waits for the bucket, in ms. */
const START_PATIENCE_MS = 5000;

/** A client that gives up on a silent store; nothing is asked of it yet. */
export function connectBucket({ endpoint, forcePathStyle, region, credentials }: BucketSettings): S3Client {
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle,
    maxAttempts: TRIES,
    // Many stores that speak S3 do not know the newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      httpAgent: { maxSockets: 100 },
      httpsAgent: { maxSockets: 100 },
    },
  });
}

/** HTTP status of the store's answer, undefined where there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
}

/**
 * Looks at the bucket once. One that cannot be reached now may be reached later.
 *
 * @throws StartError for what only other settings mend
 */
export async function checkBucket(client: S3Client, bucket: string, log: Logger): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }), {
      abortSignal: AbortSignal.timeout(START_PATIENCE_MS),
    });
  } catch (error) {
    if (statusOf(error) === 404) {
      throw new StartError(`STORAGE_URL names the bucket ${bucket}, which does not exist. Make it, or name another.`);
    }
    if ((error as Error).name === 'CredentialsProviderError') {
      throw new StartError(
        'STORAGE_URL needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them.',
      );
    }
    if (/region/i.test((error as Error).message) && statusOf(error) === undefined) {
      throw new StartError('STORAGE_URL needs the region of its bucket: set AWS_REGION.');
    }
    log.warn({ err: error, bucket }, 'the bucket of STORAGE_URL cannot be looked at; going on without');
  }
}
