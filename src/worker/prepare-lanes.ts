import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import type { Kind } from '../contract/kinds.ts';
import { createLanes, type Lanes } from '../lanes/lanes.ts';
import type { Logger } from '../log.ts';
import { createCatalog } from '../models/catalog.ts';
import { NO_MODEL } from '../queue/heartbeat.ts';
import { laneSettings } from './lane-settings.ts';

const TRY_AGAIN_MS = 2000;

/** What mends it, for who reads the log. */
const NO_MODEL_ADVICE =
  'there is no model here; the worker takes tasks once `npm run models -- pull` has fetched one ' +
  '(in Compose: `docker compose -f docker-compose.scalable.yml up models`)';

/**
 * Starts detection processes with the model that tasks of a kind get by default, or any other of the kind, however long
 * it takes until there is one and it can be loaded. Undefined when `signal` ends that.
 *
 * @param tell takes what it waits for
 */
export async function prepareLanes(
  kind: Kind,
  config: Config,
  log: Logger,
  signal: AbortSignal,
  tell: (reason: string) => void,
): Promise<{ lanes: Lanes; model: string } | undefined> {
  const catalog = createCatalog(config.paths.models, config.paths.manifest);
  const wanted = config.models[kind];
  let told: string | undefined;

  function wait(reason: string): Promise<void> {
    if (reason !== told)
      log.warn({ reason }, reason === NO_MODEL ? NO_MODEL_ADVICE : 'the worker cannot take tasks yet');
    told = reason;
    tell(reason);
    return sleep(TRY_AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }

  while (!signal.aborted) {
    // Without its default a kind still serves requests that name another model.
    const found = (await catalog.defaultFor(kind, wanted)) ?? (await catalog.defaultFor(kind, 'auto'));
    if (found === undefined) {
      await wait(NO_MODEL);
      continue;
    }
    tell('loading models');
    const { concurrency, maxTasksPerChild } = config.worker;
    const lanes = createLanes(concurrency, laneSettings(config, [found.name]), maxTasksPerChild, log);
    const close = () => void lanes.close();
    signal.addEventListener('abort', close);
    try {
      const problems = await lanes.warm();
      if (problems.length === 0) return { lanes, model: found.name };
      await Promise.all([lanes.close(), wait(problems.join(' '))]);
    } catch {
      await Promise.all([lanes.close(), wait('detection processes cannot start')]);
    } finally {
      signal.removeEventListener('abort', close);
    }
  }
  return undefined;
}
