import { z } from 'zod';

/** Form fields and query parameters arrive as text: these read them strictly, so that `0x10` or ` 1e2` is an error. */
const decimal = z
  .string()
  .trim()
  .regex(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, 'must be a number')
  .transform(Number);
const whole = z
  .string()
  .trim()
  .regex(/^[+-]?\d+$/, 'must be a whole number')
  .transform(Number);

const between = (min: number, max: number) => `must be between ${min} and ${max}`;
const fraction = decimal.pipe(z.number(between(0, 1)).min(0, between(0, 1)).max(1, between(0, 1)));
const integer = (min: number, max: number) =>
  z.int(between(min, max)).min(min, between(min, max)).max(max, between(min, max));
/** A whole number as text, both bounds allowed. */
export const wholeBetween = (min: number, max: number) => whole.pipe(integer(min, max));

export const DEFAULT_MAX_DETECTIONS = 100;
export const DEFAULT_PRIORITY = 5;

/** Options of every detection route, as a client sends them. */
export const ImageOptions = z.strictObject({
  model: z
    .string()
    .trim()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be the name of a model')
    .optional()
    .meta({ description: 'Name of a ready model, see GET /api/models.' }),
  confidence: fraction.optional().meta({ description: 'Detections below this confidence are left out.' }),
  nms: fraction.optional().meta({ description: 'IoU above which the weaker of two boxes of a class is dropped.' }),
  classes: z
    .string()
    .transform((value) =>
      value
        .split(',')
        .map((label) => label.trim())
        .filter((label) => label !== ''),
    )
    .pipe(z.array(z.string()).min(1, 'must name at least one label'))
    .optional()
    .meta({ description: 'Comma-separated labels; other classes are left out.' }),
  max_detections: wholeBetween(1, 1000)
    .optional()
    .meta({ description: 'At most this many detections, the most confident first; 100 when unset.' }),
  input_size: whole
    .pipe(integer(320, 1280).multipleOf(32, 'must be a multiple of 32'))
    .optional()
    .meta({ description: 'Longest side in pixels at which the model looks; only for models of free shape.' }),
  annotate: z
    .enum(['auto', 'true', 'false'], { error: 'must be auto, true or false' })
    .optional()
    .meta({ description: 'Whether a copy with the boxes drawn in is offered; auto draws it when first asked for.' }),
  priority: wholeBetween(0, 9).optional().meta({ description: '9 is the most urgent, 5 the default.' }),
});

const seconds = decimal.pipe(
  z.number('must be at most 1000000000').min(0, 'must not be negative').max(1e9, 'must be at most 1000000000'),
);

/** Options of the video routes: those of pictures and which part of the video is looked at. */
export const VideoOptions = ImageOptions.extend({
  frame_skip: wholeBetween(1, 1_000_000_000)
    .optional()
    .meta({ description: 'Every Nth frame is analysed; 5 when unset, or what VIDEO_FRAME_SKIP says.' }),
  start: seconds.optional().meta({ description: 'Seconds from the first frame; frames before are left out.' }),
  end: seconds.optional().meta({ description: 'Seconds from the first frame; frames from there on are left out.' }),
  track: z
    .enum(['true', 'false'], { error: 'must be true or false' })
    .optional()
    .meta({ description: 'Whether things are followed from frame to frame and counted once.' }),
});

/** Options of a task after defaults: what the worker obeys and what the task shows. */
export const TaskOptions = z
  .object({
    model: z.string(),
    confidence: z.number(),
    nms: z.number(),
    classes: z.array(z.string()).optional(),
    max_detections: z.int(),
    input_size: z.int().optional(),
    annotate: z.enum(['auto', 'true', 'false']),
    priority: z.int(),
    frame_skip: z.int().optional(),
    start: z.number().optional(),
    end: z.number().optional(),
    track: z.boolean().optional(),
  })
  .meta({ id: 'TaskOptions', description: 'Every option with its default filled in.' });
export type TaskOptions = z.infer<typeof TaskOptions>;

/** Nobody is kept waiting for the end of a task for longer. */
export const WAIT_LIMIT_SECONDS = 60;

/** Query parameters of a detection route that are not options of the detection. */
export const WaitParameter = decimal.pipe(z.number().min(0, between(0, WAIT_LIMIT_SECONDS)));

/** BullMQ priority (1 first) of a task: 1 + 2 x (9 - priority) + (video ? 1 : 0). */
export function queuePriority(priority: number, video: boolean): number {
  return 1 + 2 * (9 - priority) + (video ? 1 : 0);
}
