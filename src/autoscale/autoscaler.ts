import { setTimeout as sleep } from 'node:timers/promises';
import { KIND_NAMES, type Kind } from '../contract/kinds.ts';
import type { Logger } from '../log.ts';
import { decide } from './decide.ts';
import type { AutoscaleRules, Figures } from './policy.ts';

/** What starts and ends workers. */
export type Driver = {
  /** Workers of a kind that run or are being started, without those that are on their way out. */
  count(kind: Kind): Promise<number>;
  /** Brings their number to `workers`. Those that go are told to drain, and are not waited for. */
  scale(kind: Kind, workers: number): Promise<void>;
};

/**
 * Looks at the queues again and again and has workers added and removed by the rules. A look or a change that fails is
 * logged and made anew the next time.
 */
export function startAutoscaler(
  rules: AutoscaleRules,
  readFigures: (kind: Kind) => Promise<Figures>,
  driver: Driver,
  log: Logger,
): { stop(): Promise<void> } {
  const stopped = new AbortController();
  const changedAt = new Map<Kind, number>();
  const troubles = new Map<Kind, string>();
  const holds = new Map<Kind, string | undefined>();

  async function look(kind: Kind): Promise<void> {
    const policy = rules.workers[kind];
    if (policy === undefined) return;
    const [figures, workers] = await Promise.all([readFigures(kind), driver.count(kind)]);
    if (stopped.signal.aborted) return;
    const decision = decide(policy, rules.timezone, workers, figures, changedAt.get(kind), Date.now());
    log.debug({ kind, workers, decision, figures }, 'looked at a queue');
    const { held } = decision;
    // What lasts is told once.
    if (held !== undefined && held !== holds.get(kind))
      log.warn({ kind, workers, figures }, `no workers added: ${held}`);
    holds.set(kind, held);
    if (decision.workers === workers) return;
    await driver.scale(kind, decision.workers);
    // Only what went through is followed by a rest.
    changedAt.set(kind, Date.now());
    log.info({ kind, from: workers, to: decision.workers, reason: decision.reason, figures }, 'changing the workers');
  }

  /** A trouble that lasts is told once. */
  function tell(kind: Kind, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (stopped.signal.aborted || troubles.get(kind) === message) return;
    troubles.set(kind, message);
    log.warn({ kind, err: error }, 'autoscaling failed; it is tried again');
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      for (const kind of KIND_NAMES) {
        try {
          await look(kind);
          troubles.delete(kind);
        } catch (error) {
          tell(kind, error);
        }
      }
      await sleep(rules.every_s * 1000, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    async stop() {
      stopped.abort();
      await running;
    },
  };
}
