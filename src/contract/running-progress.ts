import { z } from 'zod';

/** How far a running video is, as its detection process says it and the job keeps it. */
export const RunningProgress = z.object({
  /** Of the whole task, 0 to 100. */
  percent: z.number().min(0).max(100),
  /** Frames. */
  done: z.int(),
  total: z.int(),
  /** Frames a second. */
  fps: z.number(),
  etaSeconds: z.number().optional(),
});
export type RunningProgress = z.infer<typeof RunningProgress>;
