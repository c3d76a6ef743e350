import { hostname } from 'node:os';
import type { Config } from '../config.ts';
import { StartError } from '../errors.ts';
import { CONTAINER_STOP_SECONDS } from '../grace.ts';
import type { Logger } from '../log.ts';
import { createComposeDriver } from './compose-driver.ts';
import { LABELS } from './compose-replica.ts';
import { connectEngine, type DockerEngine } from './docker-engine.ts';
import { engineTrouble } from './engine-trouble.ts';
import { readRules } from './policy.ts';
import { runAutoscaler } from './run-autoscaler.ts';

const SOCKET = '/var/run/docker.sock';

/** The Compose project that this container is part of. */
async function ownProject(engine: DockerEngine): Promise<string> {
  const self = await engine.inspect(hostname()).catch(async (error: NodeJS.ErrnoException) => {
    throw new StartError(await engineTrouble(SOCKET, error.code ?? error.message));
  });
  const project = self.Config.Labels[LABELS.project];
  if (project === undefined) throw new StartError('The autoscaler must be started by Compose, as one of its services.');
  return project;
}

/**
 * Runs the rules over the worker services of the Compose project that this process is part of. The only part of the
 * service that sees the engine's socket.
 *
 * @throws StartError where rules or engine cannot be used
 */
export async function runComposeAutoscaler(config: Config, log: Logger): Promise<{ stop(): Promise<void> }> {
  if (config.autoscaleFile === undefined) {
    throw new StartError(
      'There are no rules. Write autoscale.json, or set AUTOSCALE_FILE; see autoscale.example.json.',
    );
  }
  const rules = readRules(config.autoscaleFile);
  const engine = connectEngine(SOCKET);
  const project = await ownProject(engine);
  const driver = createComposeDriver(engine, project, config.worker.graceSeconds + CONTAINER_STOP_SECONDS, log);
  return runAutoscaler(config.redis, rules, driver, log);
}
