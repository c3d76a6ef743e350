/**
 * What the service can look for. A kind has one queue, one default model, one route family and one worker program;
 * everything that runs over "all queues" runs over this table.
 */
export const KINDS = {
  face: {
    queue: 'face_detection',
    noun: 'face',
    taskQueued: 'Face detection task queued. Use task_id to check status.',
    detecting: 'Detecting faces',
  },
  object: {
    queue: 'object_detection',
    noun: 'object',
    taskQueued: 'Object detection task queued. Use task_id to check status.',
    detecting: 'Detecting objects',
  },
} as const;

export type Kind = keyof typeof KINDS;
export type QueueName = (typeof KINDS)[Kind]['queue'];

export const KIND_NAMES = Object.keys(KINDS) as [Kind, ...Kind[]];
export const QUEUE_NAMES = KIND_NAMES.map((kind) => KINDS[kind].queue) as [QueueName, ...QueueName[]];

/** Undefined for a queue that is not ours. */
export function kindOfQueue(queue: string): Kind | undefined {
  return KIND_NAMES.find((kind) => KINDS[kind].queue === queue);
}

/** Media that a route takes; also the names of the jobs. */
export const MEDIA = ['image', 'video'] as const;
export type Media = (typeof MEDIA)[number];
