import { expect, it } from 'vitest';
import { replicaOf } from '../../../src/autoscale/compose-replica.ts';
import { InspectedContainer } from '../../../src/autoscale/docker-engine.ts';

const ID = 'a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90';

const inspected = (config: object = {}, name = '/recognize-face-worker-1') =>
  InspectedContainer.parse({
    Id: ID,
    Name: name,
    Image: 'sha256:feed',
    Config: {
      Hostname: 'a1b2c3d4e5f6',
      Image: 'recognize-worker:latest',
      Env: ['A=1'],
      StopTimeout: 75,
      Labels: { 'com.docker.compose.container-number': '1', 'com.docker.compose.replace': 'x', keep: 'me' },
      ...config,
    },
    HostConfig: { NanoCpus: 1e9, CapDrop: ['ALL'] },
    NetworkSettings: {
      Networks: {
        recognize_back: {
          Aliases: ['face-worker', 'a1b2c3d4e5f6', 'recognize-face-worker-1'],
          IPAddress: '172.18.0.2',
        },
        recognize_front: { Aliases: null },
      },
    },
  });

it('keeps all of a container but what tells it from its siblings', () => {
  expect(replicaOf(inspected(), 4)).toEqual({
    name: 'recognize-face-worker-4',
    body: {
      Image: 'sha256:feed',
      Env: ['A=1'],
      StopTimeout: 75,
      Labels: { 'com.docker.compose.container-number': '4', keep: 'me' },
      HostConfig: { NanoCpus: 1e9, CapDrop: ['ALL'] },
      NetworkingConfig: { EndpointsConfig: { recognize_back: { Aliases: ['face-worker'] } } },
    },
    furtherNetworks: [{ name: 'recognize_front', aliases: [] }],
  });
});

it('keeps a host name that somebody has chosen, and the names of docker-compose 1', () => {
  const replica = replicaOf(inspected({ Hostname: 'worker' }, '/my2_face-worker_12'), 13);
  expect(replica.name).toBe('my2_face-worker_13');
  expect(replica.body).toMatchObject({ Hostname: 'worker' });
});
