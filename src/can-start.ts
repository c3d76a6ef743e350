import { spawn } from 'node:child_process';

/** Whether a command is there and ends well, such as one that starts another in some way, tried with `true`. */
export function canStart(command: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const trial = spawn(command, args, { stdio: 'ignore' });
    trial.once('error', () => resolve(false));
    trial.once('close', (code) => resolve(code === 0));
  });
}
