import { describe, expect, it } from 'vitest';
import { KINDS, QUEUE_NAMES } from '../../../src/contract/kinds.ts';
import type { Manifest } from '../../support/kustomize.ts';
import { named, ofKind, type ScaledObject, type Trigger } from '../../support/manifests.ts';

const NO_TRIGGER: Trigger = { type: '', metadata: {} };

it('small scales workers by CPU as the design does: 70 %, 2 to 10', () => {
  for (const name of ['recognize-face-worker', 'recognize-object-worker']) {
    expect(named('small', 'HorizontalPodAutoscaler', name).spec).toMatchObject({
      minReplicas: 2,
      maxReplicas: 10,
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } },
      ],
    });
  }
});

describe('large', () => {
  const DAY = 24 * 60;
  /** Minutes of a week, Sunday 00:00 first, at which a cron line of fixed minute and hour fires. */
  function firings(line: string): number[] {
    const [minute, hour, dayOfMonth, month, days = ''] = line.split(' ');
    expect([dayOfMonth, month]).toEqual(['*', '*']);
    const [first = 0, last = first] = days.split('-').map(Number);
    return Array.from(
      { length: last - first + 1 },
      (_, index) => (first + index) * DAY + Number(hour) * 60 + Number(minute),
    );
  }
  /** KEDA holds a window for open when its next end comes before its next start. */
  function isOpen({ start = '', end = '' }: Record<string, string>, now: number): boolean {
    const next = (line: string) => Math.min(...firings(line).map((at) => (at > now ? at : at + 7 * DAY)));
    return next(end) < next(start);
  }

  const scaledObjects = ofKind<ScaledObject>('large', 'ScaledObject');

  it.each(scaledObjects.map((object) => [object.metadata.name, object.spec] as const))(
    '%s has the windows of the design at every minute of the week',
    (_, { triggers, minReplicaCount, maxReplicaCount }) => {
      const windows = triggers.filter(({ type }) => type === 'cron');
      for (let now = 0; now < 7 * DAY; now += 15) {
        const open = windows.filter(({ metadata }) => isOpen(metadata, now));
        expect(open).toHaveLength(1);
        const [day, minute] = [Math.floor(now / DAY), now % DAY];
        const weekday = day >= 1 && day <= 5;
        const wanted = !weekday ? 1 : minute >= 9 * 60 && minute < 17 * 60 ? 10 : 2;
        expect([now, open[0]?.metadata.desiredReplicas]).toEqual([now, String(wanted)]);
      }
      expect(minReplicaCount).toBe(1);
      expect(maxReplicaCount).toBeGreaterThan(10);
    },
  );

  it('reads the depth of the right queue where web answers it, with the token', () => {
    const service = named<Manifest & { spec: { ports: { port: number }[] } }>('large', 'Service', 'recognize-web');
    const queues = scaledObjects.map(({ spec }) => {
      const { metadata, authenticationRef } = spec.triggers.find(({ type }) => type === 'metrics-api') ?? NO_TRIGGER;
      const url = new URL(metadata.url ?? '');
      expect(url.host).toBe(
        `${service.metadata.name}.${service.metadata.namespace}.svc.cluster.local:${service.spec.ports[0]?.port}`,
      );
      expect(url.pathname).toBe('/metrics/scaling');
      expect(metadata.authMode).toBe('bearer');
      const { spec: auth } = named('large', 'TriggerAuthentication', authenticationRef?.name ?? '');
      expect(auth).toEqual({
        secretTargetRef: [{ parameter: 'token', name: 'recognize-secrets', key: 'METRICS_TOKEN' }],
      });
      const queue = /^queues\.(\w+)\.depth$/.exec(metadata.valueLocation ?? '')?.[1];
      return [spec.scaleTargetRef.name, queue];
    });
    expect(queues).toEqual([
      ['recognize-face-worker', KINDS.face.queue],
      ['recognize-object-worker', KINDS.object.queue],
    ]);
    expect(queues).toHaveLength(QUEUE_NAMES.length);
  });

  it('has its time zone in one place', () => {
    const { data } = named<Manifest & { data: { timezone: string } }>('large', 'ConfigMap', 'recognize-scaling');
    expect(() => new Intl.DateTimeFormat('en', { timeZone: data.timezone })).not.toThrow();
    const zones = scaledObjects.flatMap(({ spec }) =>
      spec.triggers.map(({ metadata }) => metadata.timezone).filter(Boolean),
    );
    expect(zones).toEqual(Array.from({ length: 8 }, () => data.timezone));
  });
});
