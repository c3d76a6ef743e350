import type { InspectedContainer, NewContainer } from './docker-engine.ts';

export const LABELS = {
  project: 'com.docker.compose.project',
  service: 'com.docker.compose.service',
  number: 'com.docker.compose.container-number',
  oneOff: 'com.docker.compose.oneoff',
  /** Set while Compose replaces a container by a newer one. */
  replaces: 'com.docker.compose.replace',
} as const;

/** The container's own short id stands for it in the network and is its host name; another one has its own. */
const isOwn = (id: string, name: string) => name.length >= 12 && id.startsWith(name);

/**
 * A further container of the same Compose service: same image, command, environment, limits, volumes and networks, and
 * the labels by which Compose knows it, so that `docker compose ps`, `up`, `--scale` and `down` treat it as their own.
 *
 * @param number that no container of the service has
 */
export function replicaOf(template: InspectedContainer, number: number): NewContainer {
  const { Hostname, MacAddress: _, Labels, ...config } = template.Config;
  const { [LABELS.replaces]: _replaced, ...labels } = Labels;
  const templateName = template.Name.replace(/^\//, '');
  const networks = Object.entries(template.NetworkSettings.Networks).map(([name, { Aliases }]) => ({
    name,
    aliases: (Aliases ?? []).filter((alias) => !isOwn(template.Id, alias) && alias !== templateName),
  }));
  const [first, ...furtherNetworks] = networks;
  return {
    // Compose 2 writes project-service-1, docker-compose 1 project_service_1.
    name: templateName.replace(/\d+$/, String(number)),
    body: {
      ...config,
      ...(typeof Hostname === 'string' && !isOwn(template.Id, Hostname) ? { Hostname } : {}),
      // As its siblings, even where the tag has been moved to a newer image since.
      Image: template.Image,
      Labels: { ...labels, [LABELS.number]: String(number) },
      HostConfig: template.HostConfig,
      NetworkingConfig: {
        EndpointsConfig: first === undefined ? {} : { [first.name]: { Aliases: first.aliases } },
      },
    },
    furtherNetworks,
  };
}
