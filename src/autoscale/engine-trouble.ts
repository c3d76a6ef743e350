import { stat } from 'node:fs/promises';
import process from 'node:process';

const GROUP_MAY_USE = 0o060;

type Found = { gid: number; mode: number; isSocket(): boolean };

/** Not let in: which group would be, and what makes the container a member of it. */
function refused(socket: string, { gid, mode }: Found, groups: readonly number[]): string {
  if ((mode & GROUP_MAY_USE) !== GROUP_MAY_USE || groups.includes(gid)) {
    return (
      `The engine's socket ${socket} lets nobody in but its owner: give it to a group on the host ` +
      '(chgrp docker, chmod 660), run `npm run secrets` there, and `up` again.'
    );
  }
  return (
    `The engine's socket ${socket} is for group ${gid} only: set DOCKER_GID=${gid} in .env ` +
    '(where there is none yet, `npm run secrets` does), and `up` again.'
  );
}

/**
 * Why an engine could not be asked, as a sentence that says what to do.
 *
 * @param code what the system or the engine said
 */
export async function engineTrouble(
  socket: string,
  code: string,
  groups: readonly number[] = process.getgroups?.() ?? [],
): Promise<string> {
  const MEND = 'Set DOCKER_SOCKET to where the host has it (most often /var/run/docker.sock), and `up` again.';
  const found: Found | string = await stat(socket).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
  if (typeof found === 'string') return `There is no engine's socket at ${socket} (${found}). ${MEND}`;
  // Where the host has none, the engine puts an empty folder there.
  if (!found.isSocket()) return `What is at ${socket} is no socket of an engine. ${MEND}`;
  if (code === 'EACCES' || code === 'EPERM') return refused(socket, found, groups);
  if (code === 'ECONNREFUSED') return `No engine listens at ${socket}: start it, and \`up\` again.`;
  return `The autoscaler must run in a container of the engine at ${socket}, started by Compose (${code}).`;
}
