import type { Logger } from '../log.ts';
import { createBackoff } from './backoff.ts';
import { type EmbeddedRedis, startEmbeddedRedis } from './embedded-redis.ts';

/**
 * Starts the embedded Redis and starts it again, on the same data and under the same URL, whenever it dies.
 *
 * @param signal calls the first start off
 * @throws StartError when the first start fails
 */
export async function keepRedis(options: {
  dataDir: string;
  log: Logger;
  signal: AbortSignal;
}): Promise<{ url: string; stop(): Promise<void> }> {
  const { dataDir, log } = options;
  const backoff = createBackoff();
  const stopped = new AbortController();
  let redis: EmbeddedRedis;
  let timer: NodeJS.Timeout | undefined;
  let restarting: Promise<void> | undefined;

  function restartLater(livedMs: number) {
    const delayMs = backoff.nextDelayMs(livedMs);
    timer = setTimeout(() => {
      restarting = restart();
    }, delayMs);
    return delayMs;
  }

  async function restart() {
    try {
      watch(await startEmbeddedRedis({ dataDir, log, signal: stopped.signal }));
      log.info('Redis runs again');
    } catch (error) {
      if (stopped.signal.aborted) return;
      log.error({ err: error, restart_in_ms: restartLater(0) }, 'Redis cannot be started again');
    }
  }

  function watch(started: EmbeddedRedis) {
    redis = started;
    const since = performance.now();
    started.onExit((reason) => {
      if (stopped.signal.aborted) return;
      log.error({ reason, restart_in_ms: restartLater(performance.now() - since) }, 'Redis ended; starting it again');
    });
  }

  const first = await startEmbeddedRedis(options);
  watch(first);
  return {
    url: first.url,
    async stop() {
      stopped.abort();
      clearTimeout(timer);
      await restarting;
      await redis.stop();
    },
  };
}
