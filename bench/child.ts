import { type ForkOptions, fork } from 'node:child_process';
import { once } from 'node:events';

/** A child process of the bench that answers each message with one of its own. */
export type Child<Asked, Answered> = {
  readonly pid: number;
  ask(message: Asked): Promise<Answered>;
  close(): Promise<void>;
};

type Reply<Answered> = { outcome: Answered } | { error: string };

/** Starts `script`; it gets `message` events and answers `{outcome}` or `{error}`, one at a time. */
export function startChild<Asked extends object, Answered>(
  script: string,
  options: Pick<ForkOptions, 'execPath' | 'execArgv' | 'env'> = {},
): Child<Asked, Answered> {
  const child = fork(script, { ...options, serialization: 'advanced' });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${script} cannot be started`);
  return {
    pid,
    ask: (message) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error(`${script} ended`));
        child.once('exit', onExit);
        child.once('message', (reply: Reply<Answered>) => {
          child.off('exit', onExit);
          if ('error' in reply) reject(new Error(reply.error));
          else resolve(reply.outcome);
        });
        child.send(message);
      }),
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill();
      await gone;
    },
  };
}
