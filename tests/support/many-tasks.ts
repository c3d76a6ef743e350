import type { Redis } from 'ioredis';
import { KEYS, PREFIX } from '../../src/queue/keys.ts';

export type ManyTasks = { finished: number; waiting: number };

/** Every so many-th finished task failed, and every so many-th good one found a zebra. */
export const FAILED_EVERY = 100;
export const ZEBRA_EVERY = 1000;

const QUEUE = 'object_detection';

/** Tasks are numbered, the oldest 1; the waiting ones follow the finished ones. */
export const idOf = (number: number) => {
  const hex = number.toString(16);
  return `${hex.padStart(8, '0')}-0000-4000-8000-${hex.padStart(12, '0')}`;
};

/** Writes jobs where BullMQ and this service would, in the server itself: a hundred thousand take about a second. */
const FILL_SCRIPT = `
local prefix, queue, from, to, finished, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local base = prefix .. ':' .. queue .. ':'
for i = from, to do
  local id = string.format('%08x-0000-4000-8000-%012x', i, i)
  local created = string.format('%.0f', now - (ARGV[7] - i) * 100)
  local done = string.format('%.0f', now - (ARGV[7] - i) * 100 + 250)
  redis.call('HSET', base .. id, 'name', 'image', 'data', ARGV[8], 'opts', '{"priority":9,"attempts":3}', 'timestamp', created, 'delay', 0, 'priority', 9)
  redis.call('ZADD', prefix .. ':index', created, queue .. ':' .. id)
  if i > finished then
    redis.call('ZADD', base .. 'prioritized', 9 * 4294967296 + i, id)
  else
    redis.call('HSET', base .. id, 'processedOn', created + 50, 'finishedOn', done, 'pb', 'object_worker_' .. (i % 4 + 1), 'atm', 1, 'ats', 1)
    if i % ARGV[9] == 0 then
      redis.call('HSET', base .. id, 'failedReason', 'UNREADABLE_MEDIA: The picture is broken.')
      redis.call('ZADD', base .. 'failed', done, id)
    else
      redis.call('HSET', base .. id, 'returnvalue', i % ARGV[10] == 1 and ARGV[12] or ARGV[11])
      redis.call('ZADD', base .. 'completed', done, id)
    end
  end
end`;

function resultWith(label: string): string {
  return JSON.stringify({
    success: true,
    objects_detected: 1,
    objects: [{ class: label, class_id: 1, confidence: 0.9, bbox: { x: 1, y: 2, width: 3, height: 4 } }],
    annotated_image: null,
    original_image: `/api/uploads/${'0'.repeat(32)}.jpg`,
    image: { width: 64, height: 48 },
    model: 'yolox_nano',
    timings_ms: { wait: 50, decode: 1, inference: 1, postprocess: 1, annotate: 0, total: 250 },
  });
}

const DATA = JSON.stringify({
  v: 1,
  kind: 'object',
  media: 'image',
  owner: null,
  request_id: 'r',
  file: {
    name: `${'0'.repeat(32)}.jpg`,
    mime: 'image/jpeg',
    bytes: 1000,
    sha256: '0'.repeat(64),
    width: 64,
    height: 48,
  },
  annotated: null,
  options: { model: 'yolox_nano', confidence: 0.3, nms: 0.45, max_detections: 100, annotate: 'false', priority: 5 },
});

/** Fills a queue with tasks that ended, 100 ms apart, and newer ones that wait. */
export async function makeManyTasks(redis: Redis, { finished, waiting }: ManyTasks): Promise<void> {
  const all = finished + waiting;
  const step = 5000;
  const now = Date.now();
  for (let from = 1; from <= all; from += step) {
    const to = Math.min(all, from + step - 1);
    const labels = [resultWith('dog'), resultWith('zebra')];
    await redis.eval(
      FILL_SCRIPT,
      1,
      KEYS.index(null),
      PREFIX,
      QUEUE,
      from,
      to,
      finished,
      now,
      all,
      DATA,
      FAILED_EVERY,
      ZEBRA_EVERY,
      ...labels,
    );
  }
}
