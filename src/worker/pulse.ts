import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { QueueName } from '../contract/kinds.ts';
import type { Lanes, LaneUse } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { seldom } from '../log-seldom.ts';
import { keepEventsShort } from '../queue/event-stream.ts';
import { beat, HEARTBEAT_MS, type Heartbeat } from '../queue/heartbeat.ts';
import { noteDepth } from '../queue/history.ts';
import type { StatisticsRecorder } from '../queue/statistics.ts';
import type { WorkerLease } from '../queue/worker-lease.ts';

const USAGE_EVERY_BEATS = 3;
const EVENTS_EVERY_BEATS = 30;

/** A worker whose heartbeats Redis has not taken for so long is not ready, in ms. */
const SILENCE_MS = 3 * HEARTBEAT_MS;

type PulseOptions = {
  redis: Redis;
  queue: QueueName;
  lease: WorkerLease;
  statistics: StatisticsRecorder;
  /** What the worker says of itself, with what its detection processes take. */
  describe(laneUse: readonly LaneUse[]): Heartbeat;
  /** Undefined until there are any. */
  lanes(): Lanes | undefined;
  /** Is called before each beat. */
  onBeat(): void;
  log: Logger;
};

export type Pulse = {
  /** One beat now. @throws where Redis does not take it */
  beat(): Promise<void>;
  /** Beats until the signal aborts. */
  keepBeating(signal: AbortSignal): Promise<void>;
  /** Whether Redis has taken a beat lately. */
  isHeard(): boolean;
  /** Writes what has been counted since the last beat. */
  flush(): Promise<void>;
};

/** What a worker does every two seconds: says that it lives, and writes what it has counted. */
export function createPulse({ redis, queue, lease, statistics, describe, lanes, onBeat, log }: PulseOptions): Pulse {
  const mayTell = seldom();
  let laneUse: LaneUse[] = [];
  let beats = 0;
  let depthMinute = 0;
  let ffmpegTold = 0;
  let heardAt = Number.NEGATIVE_INFINITY;

  function flush(): Promise<void> {
    const total = lanes()?.ffmpegSeconds() ?? 0;
    statistics.addFfmpegSeconds(total - ffmpegTold);
    ffmpegTold = total;
    return statistics.flush();
  }

  async function beatOnce(): Promise<void> {
    if (redis.status !== 'ready') return;
    onBeat();
    const flushed = flush();
    flushed.catch(() => undefined);
    const [holds] = await Promise.all([lease.renew(), beat(redis, describe(laneUse))]);
    heardAt = performance.now();
    if (!holds && mayTell('name'))
      log.warn('another worker has taken this name during an outage; this one goes on under it');
    if (beats % EVENTS_EVERY_BEATS === 0) await keepEventsShort(redis, queue);
    if (beats % USAGE_EVERY_BEATS === 0) laneUse = (await lanes()?.usage()) ?? [];
    beats++;
    await flushed;
    depthMinute = await noteDepth(redis, queue, depthMinute);
  }

  return {
    beat: beatOnce,
    async keepBeating(signal) {
      while (!signal.aborted) {
        await beatOnce().catch((error: unknown) => {
          if (mayTell(String(error))) log.warn({ err: error }, 'the heartbeat could not be written');
        });
        await sleep(HEARTBEAT_MS, undefined, { signal }).catch(() => undefined);
      }
    },
    isHeard: () => performance.now() - heardAt < SILENCE_MS,
    flush,
  };
}
