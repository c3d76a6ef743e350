import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { StartError } from './errors.ts';

/** A port to listen on, on all addresses where `host` is undefined, and the names of the settings that choose it. */
export type WantedPort = { host: string | undefined; port: number; portSetting: string; hostSetting?: string };

function explain({ host, port, portSetting, hostSetting }: WantedPort, code: string | undefined): string {
  const where = host === undefined ? '' : ` on ${host}`;
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port}${where} is taken. Set ${portSetting} to a free one.`;
    case 'EACCES':
      return `This user may not listen on port ${port}. Set ${portSetting} to another one.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${hostSetting ?? 'The host'} is "${host}", which is no address of this machine.`;
    default:
      return `Port ${port}${where} cannot be used (${code ?? 'unknown error'}). Set ${portSetting} to another one.`;
  }
}

/**
 * Lets a server listen where settings say; port 0 takes any free one.
 *
 * @returns its address as a URL
 * @throws StartError naming the setting to change
 */
export async function listen(server: Server, wanted: WantedPort): Promise<string> {
  const { host, port } = wanted;
  try {
    server.listen({ port, exclusive: true, ...(host === undefined ? {} : { host }) });
    await once(server, 'listening');
  } catch (error) {
    throw new StartError(explain(wanted, (error as NodeJS.ErrnoException).code));
  }
  const { port: actual } = server.address() as AddressInfo;
  const name = host ?? '::';
  return `http://${name.includes(':') ? `[${name}]` : name}:${actual}`;
}
