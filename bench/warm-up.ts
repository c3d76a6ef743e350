import type { Kind } from '../src/contract/kinds.ts';
import type { Context } from './context.ts';
import type { LoadGenerator } from './load/generate-load.ts';
import type { Service } from './service.ts';

const IN_FLIGHT = 8;

/**
 * Posts many small pictures: in its first thousand requests a service runs code that V8 has not compiled yet, at up to
 * twice the CPU time. What is measured is a service that has been up for a minute.
 */
export async function warmUp(service: Service, generator: LoadGenerator, kind: Kind, context: Context): Promise<void> {
  await generator.run({
    url: service.url,
    kind,
    pictures: context.pictures.thumbnail.paths,
    inFlight: IN_FLIGHT,
    until: { requests: context.quick ? 300 : 1200 },
  });
}
