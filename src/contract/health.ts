import { z } from 'zod';
import { KIND_NAMES, KINDS, type QueueName } from './kinds.ts';

export const DetectionHealth = z
  .object({
    up: z.boolean().meta({ description: 'A worker takes tasks, and there is a model.' }),
    workers: z.int(),
    slots: z.int().meta({ description: 'Detections that can run at the same time.' }),
    busy: z.int(),
    waiting: z.int(),
    oldest_waiting_s: z.number(),
    model: z.string().nullable(),
    reason: z.string().optional().meta({ description: 'Why it is not up.' }),
  })
  .meta({ id: 'DetectionHealth' });
export type DetectionHealth = z.infer<typeof DetectionHealth>;

export const RedisHealth = z.object({
  up: z.boolean(),
  latency_ms: z.number().nullable(),
  reason: z.string().optional(),
});
export type RedisHealth = z.infer<typeof RedisHealth>;

export const StorageHealth = z.object({
  up: z.boolean().meta({ description: 'Files can be stored; looked at every few seconds.' }),
  reason: z.string().optional(),
});
export type StorageHealth = z.infer<typeof StorageHealth>;

export const Health = z
  .object({
    status: z.enum(['ok', 'degraded', 'down']).meta({
      description:
        'down: no Redis, nothing works; degraded: something has no worker or no model, or no file can be stored.',
    }),
    mode: z.enum(['async', 'sync']),
    storage: StorageHealth,
    services: z.object({
      redis: RedisHealth,
      ...(Object.fromEntries(KIND_NAMES.map((kind) => [KINDS[kind].queue, DetectionHealth])) as Record<
        QueueName,
        typeof DetectionHealth
      >),
    }),
  })
  .meta({ id: 'Health' });
export type Health = z.infer<typeof Health>;
