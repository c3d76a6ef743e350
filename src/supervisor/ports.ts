import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartError } from '../errors.ts';

/** A port to listen on and the names of the settings that choose it. */
export type WantedPort = { host: string; port: number; portSetting: string; hostSetting: string };

function explain({ host, port, portSetting, hostSetting }: WantedPort, code: string | undefined): string {
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is taken. Set ${portSetting} to a free one.`;
    case 'EACCES':
      return `This user may not listen on port ${port}. Set ${portSetting} to another one.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${hostSetting} is "${host}", which is no address of this machine.`;
    default:
      return `Port ${port} on ${host} cannot be used (${code ?? 'unknown error'}). Set ${portSetting} to another one.`;
  }
}

/**
 * Listens for a moment, so that a taken port is told in one sentence before anything is started.
 *
 * @throws StartError naming the setting to change
 */
export async function requireFreePort(wanted: WantedPort): Promise<void> {
  const server = createServer();
  try {
    server.listen({ host: wanted.host, port: wanted.port, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    throw new StartError(explain(wanted, (error as NodeJS.ErrnoException).code));
  }
  server.close();
  await once(server, 'close');
}

/** The address to type into a browser on this machine. */
export function browserUrl(host: string, port: number): string {
  if (host === '0.0.0.0' || host === '::') return `http://localhost:${port}`;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
