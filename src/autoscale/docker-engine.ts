import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { z } from 'zod';

/** An answer of the engine that is no success; the message is for logs only. */
export class EngineError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'EngineError';
    this.status = status;
  }
}

const Labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((labels) => labels ?? {});

export const ListedContainer = z.object({ Id: z.string(), State: z.string(), Labels });
export type ListedContainer = z.infer<typeof ListedContainer>;

/** What is needed of a container to make another one like it; everything else in it is handed on as it is. */
export const InspectedContainer = z.looseObject({
  Id: z.string(),
  Name: z.string(),
  Image: z.string(),
  Config: z.looseObject({ Labels, StopTimeout: z.number().nullish() }),
  HostConfig: z.looseObject({}),
  NetworkSettings: z.object({
    Networks: z
      .record(z.string(), z.looseObject({ Aliases: z.array(z.string()).nullish() }))
      .nullish()
      .transform((networks) => networks ?? {}),
  }),
});
export type InspectedContainer = z.infer<typeof InspectedContainer>;

export type NewContainer = { name: string; body: object; furtherNetworks: { name: string; aliases: string[] }[] };

export type DockerEngine = {
  /** Containers that carry all of these labels (`name=value`), also those that do not run. */
  list(labels: readonly string[]): Promise<ListedContainer[]>;
  inspect(id: string): Promise<InspectedContainer>;
  /** Makes a container and starts it; nothing stays behind where that fails. */
  run(container: NewContainer): Promise<string>;
  /** SIGTERM, and SIGKILL after so many seconds; resolves when it has ended. */
  stop(id: string, seconds: number): Promise<void>;
  /** Removes a container that has ended, with its anonymous volumes. */
  remove(id: string): Promise<void>;
};

/** An answer that says that what is asked for is so already, or that there is no such container any more. */
const ALREADY = new Set([304, 404, 409]);

/** An engine that does not answer, in ms; a stop takes as long as the container does. */
const ANSWER_MS = 30_000;

/**
 * Talks to a Docker Engine over its socket.
 *
 * @throws EngineError, or the system's error where the socket cannot be used
 */
export function connectEngine(socketPath: string): DockerEngine {
  function call(method: string, path: string, body?: object, timeoutMs = ANSWER_MS): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const signal = AbortSignal.timeout(timeoutMs);
      const outgoing = request({ socketPath, method, path, headers, signal }, async (response) => {
        try {
          const answer = await text(response);
          const status = response.statusCode ?? 0;
          const json: unknown = answer === '' ? undefined : JSON.parse(answer);
          if (status < 300) resolve(json);
          else reject(new EngineError(status, String((json as { message?: unknown })?.message ?? status)));
        } catch (error) {
          reject(error);
        }
      });
      outgoing.on('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async function unlessAlready(work: Promise<unknown>): Promise<void> {
    await work.catch((error: unknown) => {
      if (!(error instanceof EngineError) || !ALREADY.has(error.status)) throw error;
    });
  }

  const remove = (id: string, force: boolean) =>
    call('DELETE', `/containers/${id}?v=true${force ? '&force=true' : ''}`);

  return {
    async list(labels) {
      const filters = encodeURIComponent(JSON.stringify({ label: labels }));
      return z.array(ListedContainer).parse(await call('GET', `/containers/json?all=true&filters=${filters}`));
    },
    async inspect(id) {
      return InspectedContainer.parse(await call('GET', `/containers/${encodeURIComponent(id)}/json`));
    },
    async run({ name, body, furtherNetworks }) {
      const created = await call('POST', `/containers/create?name=${encodeURIComponent(name)}`, body);
      const { Id: id } = z.object({ Id: z.string() }).parse(created);
      try {
        for (const { name: network, aliases } of furtherNetworks) {
          const connection = { Container: id, EndpointConfig: { Aliases: aliases } };
          await call('POST', `/networks/${encodeURIComponent(network)}/connect`, connection);
        }
        await call('POST', `/containers/${id}/start`);
      } catch (error) {
        await remove(id, true).catch(() => undefined);
        throw error;
      }
      return id;
    },
    stop: (id, seconds) =>
      unlessAlready(call('POST', `/containers/${id}/stop?t=${seconds}`, undefined, (seconds + 30) * 1000)),
    remove: (id) => unlessAlready(remove(id, false)),
  };
}
