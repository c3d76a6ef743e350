import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartError } from '../errors.ts';
import { listen, type WantedPort } from '../listen.ts';

/**
 * Listens for a moment, so that a taken port is told in one sentence before anything is started.
 *
 * @throws StartError naming the setting to change
 */
export async function requireFreePort(wanted: WantedPort): Promise<void> {
  const server = createServer();
  await listen(server, wanted);
  server.close();
  await once(server, 'close');
}

const EVERYWHERE = new Set([undefined, '0.0.0.0', '::']);

/**
 * Two settings that ask for the same place would each find it free, and only clash once both processes listen.
 *
 * @throws StartError naming both
 */
export function requireDistinctPorts(ports: readonly WantedPort[]): void {
  for (const [index, one] of ports.entries()) {
    for (const other of ports.slice(index + 1)) {
      const sameHost = one.host === other.host || EVERYWHERE.has(one.host) || EVERYWHERE.has(other.host);
      if (one.port === other.port && one.port !== 0 && sameHost) {
        throw new StartError(
          `${one.portSetting} and ${other.portSetting} both ask for port ${one.port}. Change one of them.`,
        );
      }
    }
  }
}

/** An address that a browser on this machine takes, for one that may say "everywhere". */
export function browserUrl(url: string): string {
  return url.replace(/^(https?:\/\/)(0\.0\.0\.0|\[::\])(?=[:/]|$)/, '$1localhost');
}
