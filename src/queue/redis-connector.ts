import { isIP, type NetConnectOpts, connect as netConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { AbstractConnector } from 'ioredis';
import type { Master, MasterLocator, TlsOptions } from './redis-locator.ts';

type NetStream = ReturnType<typeof netConnect>;
/** A connection that is ended takes leave of the server for so long at most. */
const DISCONNECT_MS = 2000;

type Tell = (type: string, error: Error) => void;

/** Many clusters announce bare addresses while their certificate has the name under which they are reached. */
function certificateName({ host, seed }: Master): { servername: string } | Record<string, never> {
  const name = isIP(host) === 0 ? host : seed.host;
  return isIP(name) === 0 ? { servername: name } : {};
}

function open(master: Master, tls: TlsOptions | undefined): NetStream {
  const to: NetConnectOpts = { host: master.host, port: master.port };
  return tls === undefined ? netConnect(to) : tlsConnect({ ...to, ...certificateName(master), ...tls });
}

/**
 * What ioredis takes as option `Connector`: looks for the master before every connection, and takes nobody for it who
 * says that he is a replica. Never gives up before it is disconnected.
 */
export function connectorTo(locate: MasterLocator, tls: TlsOptions | undefined) {
  return class MasterConnector extends AbstractConnector {
    #search = new AbortController();
    #leaving = false;

    constructor() {
      super(DISCONNECT_MS);
    }

    override check(info: { role?: string }): boolean {
      return info.role === undefined || info.role === 'master';
    }

    override disconnect(): void {
      // Every command that a former master refuses asks for a new connection.
      if (this.#leaving) return;
      this.#leaving = true;
      this.#search.abort(new Error('Connection is closed.'));
      super.disconnect();
    }

    async connect(tell: Tell): Promise<NetStream> {
      this.connecting = true;
      this.#leaving = false;
      this.#search = new AbortController();
      const master = await locate(this.#search.signal, (error) => tell('error', error));
      this.#search.signal.throwIfAborted();
      const stream = open(master, tls);
      this.stream = stream;
      stream.once('error', (error) => {
        this.firstError = error;
      });
      return stream;
    }
  };
}
