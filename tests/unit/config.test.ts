import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { childEnvironment, loadConfig, usableCores } from '../../src/config.ts';
import { StartError } from '../../src/errors.ts';
import { tempDir } from '../support/temp.ts';

describe('defaults', () => {
  const config = loadConfig({});

  it('are those of the contract', () => {
    expect(config).toMatchObject({
      mode: 'async',
      redis: { url: undefined, caFile: undefined },
      web: {
        host: '127.0.0.1',
        port: 5000,
        trustProxyHops: 0,
        corsOrigins: [],
        apiKeys: [],
        rateLimit: undefined,
        metricsToken: undefined,
      },
      dashboard: { host: '127.0.0.1', port: 5555, user: undefined, password: undefined, users: [] },
      healthPort: undefined,
      logLevel: 'info',
      limits: {
        uploadBytes: 104_857_600,
        imagePixels: 100_000_000,
        haarLongestSide: 1920,
        queueLength: 0,
        imageSeconds: 120,
        videoSeconds: 3600,
      },
      models: {
        mirrors: [],
        face: 'auto',
        object: 'auto',
        confidence: { face: undefined, object: undefined },
        nms: undefined,
        executionProviders: ['cpu'],
      },
      videoFrameSkip: 5,
      worker: { maxTasksPerChild: 1000, graceSeconds: 8 },
      ttl: { resultSeconds: 86_400, uploadSeconds: 86_400 },
    });
  });

  it('put everything below the working folder', () => {
    expect(config.paths).toMatchObject({
      data: resolve('data'),
      uploads: resolve('data/uploads'),
      tmp: resolve('data/uploads/.tmp'),
      models: resolve('models'),
      logs: resolve('logs'),
    });
  });

  it('are also what blank values mean', () => {
    expect(loadConfig({ PORT: '', REDIS_URL: ' ', API_KEYS: '', CORS_ORIGINS: ' , ', NMS_THRESHOLD: '' })).toEqual(
      config,
    );
  });

  it('run as many detections at a time as there are cores to use', () => {
    expect(config.worker.concurrency).toBe(usableCores());
    expect(usableCores()).toBeGreaterThanOrEqual(1);
    expect(usableCores()).toBeLessThanOrEqual(availableParallelism());
  });

  it('cannot be changed by whoever holds them', () => {
    expect(Object.isFrozen(config)).toBe(true);
  });
});

describe('values', () => {
  it('are read as headers where they are such', () => {
    const read = (headers: string) =>
      loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318', OTEL_EXPORTER_OTLP_HEADERS: headers }).traces;
    expect(read('authorization=Basic%20abc=, x-team=a b')).toEqual({
      endpoint: 'http://127.0.0.1:4318',
      headers: { authorization: 'Basic abc=', 'x-team': 'a b' },
    });
    for (const wrong of ['authorization', '=x', 'a=%zz', 'a b=c'])
      expect(() => read(wrong)).toThrow('OTEL_EXPORTER_OTLP_HEADERS must be a comma-separated list of name=value');
  });

  it('are read as what they are', () => {
    const config = loadConfig({
      API_KEYS: 'alice:s3:cret, bob:x',
      API_RATE_LIMIT: '100 per hour',
      CORS_ORIGINS: 'https://a.example, https://b.example',
      DASHBOARD_USERS: 'eve:viewer:scrypt$16384$8$1$salt$hash',
      DATA_DIR: '/data/x',
      TMP_DIR: '/scratch',
      EXECUTION_PROVIDERS: 'CUDA,cpu',
      FACE_DETECTION_CONFIDENCE: '.5',
      HEALTH_PORT: '9000',
      MODELS_MIRROR: '/a,https://b/c',
      MODE: 'sync',
      WORKER_CONCURRENCY: '3',
    });
    expect(config.web.apiKeys).toEqual([
      { name: 'alice', key: 's3:cret' },
      { name: 'bob', key: 'x' },
    ]);
    expect(config.web.rateLimit).toEqual({ points: 100, seconds: 3600 });
    expect(config.web.corsOrigins).toEqual(['https://a.example', 'https://b.example']);
    expect(config.dashboard.users).toEqual([{ name: 'eve', role: 'viewer', hash: 'scrypt$16384$8$1$salt$hash' }]);
    expect(config.paths).toMatchObject({ data: '/data/x', uploads: '/data/x/uploads', tmp: '/scratch' });
    expect(config.models).toMatchObject({
      executionProviders: ['cuda', 'cpu'],
      confidence: { face: 0.5, object: undefined },
      mirrors: ['/a', 'https://b/c'],
    });
    expect(config).toMatchObject({ mode: 'sync', healthPort: 9000, worker: { concurrency: 3 } });
  });

  it.each([
    ['1 per second', 1, 1],
    ['5/minute', 5, 60],
    ['20 Per Day', 20, 86_400],
  ])('a rate of "%s"', (API_RATE_LIMIT, points, seconds) => {
    expect(loadConfig({ API_RATE_LIMIT }).web.rateLimit).toEqual({ points, seconds });
  });

  it.each([
    'redis://h',
    'rediss://h:1/2',
    'unix:///run/redis.sock',
    'redis-sentinel://:pw@h1:26379,h2:26379/main',
    'rediss-cluster://h1:7000,h2:7001',
  ])('REDIS_URL %s', (REDIS_URL) => {
    expect(loadConfig({ REDIS_URL }).redis.url).toBe(REDIS_URL);
  });
});

describe('a wrong value', () => {
  it.each<[string, string]>([
    ['PORT', '65536'],
    ['PORT', '80.5'],
    ['PORT', '-1'],
    ['PORT', '0x50'],
    ['HEALTH_PORT', '0'],
    ['TRUST_PROXY', 'true'],
    ['MODE', 'async,sync'],
    ['LOG_LEVEL', 'loud'],
    ['MAX_CONTENT_LENGTH', '0'],
    ['MAX_CONTENT_LENGTH', '100MB'],
    ['FACE_DETECTION_CONFIDENCE', '1.01'],
    ['FACE_DETECTION_CONFIDENCE', 'NaN'],
    ['OBJECT_DETECTION_CONFIDENCE', '-0.1'],
    ['NMS_THRESHOLD', '2'],
    ['WORKER_CONCURRENCY', '0'],
    ['EXECUTION_PROVIDERS', 'tpu'],
    ['RESULT_TTL', '0'],
    ['MAX_QUEUE_LENGTH', 'none'],
    ['API_KEYS', 'justakey'],
    ['API_KEYS', 'name:'],
    ['API_KEYS', 'a b:key'],
    ['API_RATE_LIMIT', '100'],
    ['API_RATE_LIMIT', '0 per hour'],
    ['API_RATE_LIMIT', '1 per fortnight'],
    ['DASHBOARD_USERS', 'eve:root:hash'],
    ['REDIS_URL', 'localhost:6379'],
    ['REDIS_URL', 'redis-sentinel://h:26379'],
    ['REDIS_URL', 'redis-cluster://h/3'],
    ['STORAGE_URL', 'https://bucket'],
    ['STORAGE_URL', 's3://B'],
    ['S3_ENDPOINT', 'minio:9000'],
    ['S3_FORCE_PATH_STYLE', 'perhaps'],
    ['S3_EXPIRY_RULE', 'true'],
    ['RESULT_ENCRYPTION_KEY', 'a:b'],
    ['RESULT_ENCRYPTION_KEY', `k:${Buffer.alloc(31).toString('base64')}`],
    ['RESULT_ENCRYPTION_KEY', `a b:${Buffer.alloc(32).toString('base64')}`],
    ['RESULT_ENCRYPTION_KEY', `k:${Buffer.alloc(32).toString('base64')},k:${Buffer.alloc(32).toString('base64')}`],
  ])('%s=%s is refused with a sentence that names it', (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(StartError);
    expect(() => loadConfig({ [name]: value })).toThrow(new RegExp(`^Wrong setting: ${name} [a-z].*\\.$`));
  });

  it.each(['s3://bucket', 's3://bucket/'])('no rule of expiry for all of %s', (url) => {
    expect(() => loadConfig({ STORAGE_URL: url, S3_EXPIRY_RULE: 'true' })).toThrow(
      /^Wrong setting: S3_EXPIRY_RULE needs/,
    );
    expect(loadConfig({ STORAGE_URL: 's3://bucket/files', S3_EXPIRY_RULE: 'true' }).expiryRule).toBe(true);
  });

  it('is named beside every other', () => {
    expect(() => loadConfig({ PORT: 'x', MODE: 'y' })).toThrow(/PORT .*; MODE /);
  });

  it('does not give a secret away', () => {
    expect(() => loadConfig({ REDIS_URL: 'redis://:hunter2@h/x' })).toThrow(/^((?!hunter2).)*$/);
    expect(() => loadConfig({ API_KEYS: 'hunter2' })).toThrow(/^((?!hunter2).)*$/);
  });

  it('an authority for a connection without TLS is refused', () => {
    const REDIS_CA_FILE = resolve('package.json');
    expect(() => loadConfig({ REDIS_URL: 'redis-cluster://h', REDIS_CA_FILE })).toThrow(/REDIS_CA_FILE .* rediss/);
    expect(loadConfig({ REDIS_URL: 'rediss-cluster://h', REDIS_CA_FILE }).redis.caFile).toBe(REDIS_CA_FILE);
  });

  it('UPLOAD_TTL below RESULT_TTL is refused', () => {
    expect(() => loadConfig({ UPLOAD_TTL: '3599', RESULT_TTL: '3600' })).toThrow(/UPLOAD_TTL .* RESULT_TTL/);
    expect(loadConfig({ UPLOAD_TTL: '3600', RESULT_TTL: '3600' }).ttl.uploadSeconds).toBe(3600);
  });

  it.each([{ DASHBOARD_USER: 'a' }, { DASHBOARD_PASSWORD: 'b' }])('half a login is refused: %o', (environment) => {
    expect(() => loadConfig(environment)).toThrow(/DASHBOARD_USER and DASHBOARD_PASSWORD/);
  });

  it('ends the process at once with that sentence alone', () => {
    const run = () =>
      execFileSync(process.execPath, ['src/main.ts', 'web'], {
        env: { PATH: process.env.PATH, PORT: 'eighty' },
        stdio: 'pipe',
      });
    expect(run).toThrow(
      expect.objectContaining({ status: 78, stderr: Buffer.from('Wrong setting: PORT must be a whole number.\n') }),
    );
  });
});

it('.env in the working folder fills in what the environment leaves unset', () => {
  const folder = tempDir('env');
  writeFileSync(resolve(folder, '.env'), 'PORT=1111\nHOST=0.0.0.0\n');
  const script = `import { loadConfig } from ${JSON.stringify(resolve('src/config.ts'))};
    const { host, port } = loadConfig().web; console.log(host, port);`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: folder,
    env: { PATH: process.env.PATH, PORT: '2222' },
    encoding: 'utf8',
  });
  expect(output).toBe('0.0.0.0 2222\n');
});

it('the environment of a child process is ours with changes', () => {
  process.env.RECOGNIZE_TEST_ONE = '1';
  process.env.RECOGNIZE_TEST_TWO = '2';
  const environment = childEnvironment({ RECOGNIZE_TEST_ONE: undefined, RECOGNIZE_TEST_THREE: '3' });
  expect(environment).toMatchObject({ RECOGNIZE_TEST_TWO: '2', RECOGNIZE_TEST_THREE: '3' });
  expect(environment).not.toHaveProperty('RECOGNIZE_TEST_ONE');
  expect(process.env.RECOGNIZE_TEST_ONE).toBe('1');
});
