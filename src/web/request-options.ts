import type { ParsedQs } from 'qs';
import type { z } from 'zod';
import type { Config } from '../config.ts';
import type { Kind, Media } from '../contract/kinds.ts';
import {
  DEFAULT_MAX_DETECTIONS,
  DEFAULT_PRIORITY,
  ImageOptions,
  type TaskOptions,
  VideoOptions,
  WAIT_LIMIT_SECONDS,
  WaitParameter,
} from '../contract/options.ts';
import { AppError } from '../errors.ts';
import type { ModelCatalog, ReadyModel } from '../models/catalog.ts';

type Fields = Record<string, unknown>;

/** The contract's answer for the first thing that is wrong with an option; all of them are in the details. */
export function invalidOption(issues: { option: string; message: string }[]): AppError {
  const first = issues[0] ?? { option: 'option', message: 'is wrong' };
  return new AppError('INVALID_OPTION', `Option ${first.option} ${first.message}.`, { details: issues });
}

/** The first thing that is wrong with each option. */
function optionIssues(error: z.ZodError, fields: Fields): { option: string; message: string }[] {
  const messages = new Map<string, string>();
  for (const issue of error.issues) {
    const option = String(issue.path[0] ?? '');
    if (issue.code === 'unrecognized_keys') for (const key of issue.keys) messages.set(key, 'is not known');
    else if (typeof fields[option] !== 'string') messages.set(option, 'must be given once, as text');
    else if (!messages.has(option)) messages.set(option, issue.message);
  }
  return [...messages].map(([option, message]) => ({ option, message }));
}

/** Parses with a schema whose keys are options. @throws AppError INVALID_OPTION */
export function parseOptions<T>(schema: z.ZodType<T>, fields: Fields): T {
  const parsed = schema.safeParse(fields);
  if (!parsed.success) throw invalidOption(optionIssues(parsed.error, fields));
  return parsed.data;
}

export type DetectionRequest = { options: z.infer<typeof VideoOptions>; waitMs: number | undefined };

const SCHEMAS = { image: ImageOptions, video: VideoOptions };

/** The seconds of RFC 7240's `wait`; a preference that cannot be read is no error. */
function preferredWait(prefer: string | undefined): number | undefined {
  const seconds = /(?:^|[,;\s])wait\s*=\s*"?(\d+)/i.exec(prefer ?? '')?.[1];
  return seconds === undefined ? undefined : Number(seconds);
}

/**
 * Options of a detection from query and form together, which must not contradict each other.
 *
 * @param prefer the header `Prefer`; the parameter `wait` wins
 * @throws AppError INVALID_OPTION
 */
export function readDetectionRequest(
  media: Media,
  query: ParsedQs,
  form: Fields | undefined,
  prefer: string | undefined,
): DetectionRequest {
  // Not assigned one by one: a field named __proto__ would vanish instead of being refused.
  const fields: Fields = Object.fromEntries([query, form ?? {}].flatMap(Object.entries));
  const contradiction = Object.keys(form ?? {}).find(
    (name) => Object.hasOwn(query, name) && query[name] !== form?.[name],
  );
  if (contradiction !== undefined)
    throw invalidOption([{ option: contradiction, message: 'has one value in the form and another in the query' }]);
  const { wait, ...rest } = fields;
  const options = parseOptions<DetectionRequest['options']>(SCHEMAS[media], rest);
  let seconds = preferredWait(prefer);
  if (wait !== undefined) {
    const parsed = WaitParameter.safeParse(wait);
    if (!parsed.success)
      throw invalidOption([{ option: 'wait', message: `must be a number of seconds, at most ${WAIT_LIMIT_SECONDS}` }]);
    seconds = parsed.data;
  }
  return { options, waitMs: seconds === undefined ? undefined : Math.min(seconds, WAIT_LIMIT_SECONDS) * 1000 };
}

function modelUnavailable(kind: Kind, wanted: string): AppError {
  const [what, command] =
    wanted === 'auto'
      ? [`There is no model for ${kind} detection here.`, 'npm run models -- pull']
      : [`The model ${wanted} is not here.`, `npm run models -- pull ${wanted}`];
  return new AppError('MODEL_UNAVAILABLE', `${what} \`${command}\` fetches it.`, { retryAfterSeconds: 60 });
}

/** @throws AppError MODEL_UNAVAILABLE where there is no model at all that a request could name */
export async function requireAnyModel(kind: Kind, catalog: ModelCatalog, settings: Config['models']): Promise<void> {
  if ((await catalog.ready()).some(({ task }) => task === kind)) return;
  throw modelUnavailable(kind, settings[kind]);
}

/** The model for a request. @throws AppError MODEL_UNAVAILABLE, INVALID_OPTION */
export async function chooseModel(
  kind: Kind,
  requested: string | undefined,
  catalog: ModelCatalog,
  settings: Config['models'],
): Promise<ReadyModel> {
  if (requested === undefined || requested === 'auto') {
    const wanted = settings[kind];
    const model = await catalog.defaultFor(kind, wanted);
    if (model === undefined) throw modelUnavailable(kind, wanted);
    return model;
  }
  const model = await catalog.find(requested);
  if (model !== undefined && model.task === kind) return model;
  const known = (await catalog.known()).find(({ name, task }) => name === requested && task === kind);
  if (known !== undefined && model === undefined) throw modelUnavailable(kind, requested);
  const names = (await catalog.ready()).filter(({ task }) => task === kind).map(({ name }) => name);
  throw invalidOption([{ option: 'model', message: `must be one of ${names.join(', ')}` }]);
}

/** Fills in what the request leaves open: request before environment before the model's own. */
export function completeOptions(
  kind: Kind,
  media: Media,
  model: ReadyModel,
  asked: DetectionRequest['options'],
  { models: settings, videoFrameSkip }: Pick<Config, 'models' | 'videoFrameSkip'>,
): TaskOptions {
  const { start, end } = asked;
  if (end !== undefined && end <= (start ?? 0)) {
    throw invalidOption([{ option: 'end', message: 'must lie after start' }]);
  }
  const unknown = asked.classes?.find((label) => !model.labels.includes(label));
  if (unknown !== undefined)
    throw invalidOption([{ option: 'classes', message: `names "${unknown}", which ${model.name} does not know` }]);
  if (asked.input_size !== undefined && !model.input.free) {
    throw invalidOption([
      { option: 'input_size', message: `cannot be chosen for ${model.name}, which has a fixed input` },
    ]);
  }
  return {
    model: model.name,
    confidence: asked.confidence ?? settings.confidence[kind] ?? model.defaults.confidence,
    nms: asked.nms ?? settings.nms ?? model.defaults.nms,
    ...(asked.classes === undefined ? {} : { classes: [...new Set(asked.classes)] }),
    max_detections: asked.max_detections ?? DEFAULT_MAX_DETECTIONS,
    ...(asked.input_size === undefined ? {} : { input_size: asked.input_size }),
    annotate: asked.annotate ?? 'auto',
    priority: asked.priority ?? DEFAULT_PRIORITY,
    ...(media === 'video'
      ? {
          frame_skip: asked.frame_skip ?? videoFrameSkip,
          ...(start === undefined ? {} : { start }),
          ...(end === undefined ? {} : { end }),
          track: asked.track !== 'false',
        }
      : {}),
  };
}
