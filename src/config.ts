import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { StartError } from './errors.ts';
import { chooseSlots, readMachineLimits } from './machine-limits.ts';
import {
  apiKeys,
  blankIsUnset,
  dashboardUsers,
  encryptionKeys,
  flag,
  fraction,
  headers,
  httpUrl,
  integer,
  integerOr,
  LONGEST_TIMER_SECONDS,
  list,
  origins,
  port,
  rateLimit,
  redisUrl,
  storageUrl,
  text,
  textOr,
} from './setting-types.ts';
import { weakSecret } from './weak-secrets.ts';

const PROJECT_ROOT = resolve(import.meta.dirname, '..');

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const Environment = z.object({
  REDIS_URL: redisUrl,
  REDIS_CA_FILE: text,
  PORT: port(5000),
  HOST: textOr('127.0.0.1'),
  TRUST_PROXY: integerOr(0, 0, 32),
  DASHBOARD_HOST: textOr('127.0.0.1'),
  DASHBOARD_PORT: port(5555),
  HEALTH_PORT: integer(1, 65535),
  METRICS_TOKEN: text,
  DATA_DIR: textOr('data'),
  UPLOAD_FOLDER: text,
  STORAGE_URL: storageUrl,
  S3_ENDPOINT: httpUrl,
  S3_FORCE_PATH_STYLE: z.preprocess(blankIsUnset, z.stringbool().optional()),
  S3_EXPIRY_RULE: flag(false),
  AWS_REGION: text,
  AWS_DEFAULT_REGION: text,
  AWS_ACCESS_KEY_ID: text,
  AWS_SECRET_ACCESS_KEY: text,
  AWS_SESSION_TOKEN: text,
  TMP_DIR: text,
  MODELS_DIR: textOr('models'),
  MODELS_MIRROR: list,
  LOG_DIR: textOr('logs'),
  LOG_LEVEL: z.preprocess(blankIsUnset, z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info')),
  LOG_ROTATE_BYTES: integerOr(10_485_760, 4096),
  LOG_KEEP_FILES: integerOr(9, 0, 1000),
  LOG_KEEP_DAYS: integerOr(14, 1, 3650),
  MODE: z.preprocess(blankIsUnset, z.enum(['async', 'sync'], 'must be async or sync').default('async')),
  MAX_CONTENT_LENGTH: integerOr(104857600, 1),
  MAX_IMAGE_PIXELS: integerOr(100000000, 1),
  MAX_IMAGE_DIMENSION: integerOr(1920, 32, 65535),
  FACE_MODEL: textOr('auto'),
  OBJECT_MODEL: textOr('auto'),
  FACE_DETECTION_CONFIDENCE: fraction,
  OBJECT_DETECTION_CONFIDENCE: fraction,
  NMS_THRESHOLD: fraction,
  VIDEO_FRAME_SKIP: integerOr(5, 1),
  EXECUTION_PROVIDERS: list.transform((names, context) => {
    const wanted = names.length === 0 ? ['cpu'] : names.map((name) => name.toLowerCase());
    if (wanted.some((name) => name !== 'cpu' && name !== 'cuda')) {
      context.addIssue({ code: 'custom', message: 'must be "cpu" or "cuda,cpu"' });
      return z.NEVER;
    }
    return wanted as ('cpu' | 'cuda')[];
  }),
  WORKER_CONCURRENCY: integer(1, 256),
  WORKER_MAX_TASKS_PER_CHILD: integerOr(1000, 1),
  TASK_TIME_LIMIT: integerOr(120, 1, LONGEST_TIMER_SECONDS),
  VIDEO_TIME_LIMIT: integerOr(3600, 1, LONGEST_TIMER_SECONDS),
  GRACE_PERIOD: integerOr(8, 0, 3600),
  RESULT_TTL: integerOr(86400, 1),
  UPLOAD_TTL: integerOr(86400, 1),
  MAX_QUEUE_LENGTH: integerOr(0, 0),
  RESULT_ENCRYPTION_KEY: encryptionKeys,
  API_KEYS: apiKeys,
  API_RATE_LIMIT: rateLimit,
  CORS_ORIGINS: origins,
  DASHBOARD_USER: text,
  DASHBOARD_PASSWORD: text,
  DASHBOARD_USERS: dashboardUsers,
  // Where containers are published for others, as by docker-compose.scalable.yml and deploy/k8s, a weak secret stops them.
  RECOGNIZE_REFUSE_WEAK_SECRETS: flag(false),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.preprocess(
    blankIsUnset,
    z.url({ protocol: /^https?$/, error: 'must be a URL such as http://127.0.0.1:4318' }).optional(),
  ),
  OTEL_EXPORTER_OTLP_HEADERS: headers,
  AUTOSCALE_FILE: text,
});

/** The settings that {@link loadConfig} reads, in the order in which `.env.example` lists them. */
export const ENVIRONMENT_NAMES = Object.keys(Environment.shape);

/** Detection processes to run where nobody says: the cores that this process may use, fewer where memory is short. */
export function usableCores(): number {
  return chooseSlots(readMachineLimits(), undefined).slots;
}

function explain(error: z.ZodError): string {
  return error.issues
    .map(
      (issue) =>
        `${String(issue.path[0])} ${issue.message.replace(/^Invalid input: /, '').replace(/^Invalid option: /, 'must be: ')}`,
    )
    .join('; ');
}

/** Stores of one's own mostly know no names of buckets in their host name, and no regions. */
function bucketAccess(env: z.infer<typeof Environment>) {
  const isOwn = env.S3_ENDPOINT !== undefined;
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = env;
  return {
    endpoint: env.S3_ENDPOINT,
    forcePathStyle: env.S3_FORCE_PATH_STYLE ?? isOwn,
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? (isOwn ? 'us-east-1' : undefined),
    credentials:
      id === undefined || secret === undefined
        ? undefined
        : { accessKeyId: id, secretAccessKey: secret, ...(token === undefined ? {} : { sessionToken: token }) },
  };
}

/**
 * Reads and validates the environment; the only place that does.
 *
 * @param environment variables by name; `.env` in the working folder fills in those that are unset
 * @throws StartError with a sentence that names each wrong value
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env) {
  if (environment === process.env && existsSync('.env')) process.loadEnvFile('.env');
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new StartError(`Wrong setting: ${explain(parsed.error)}.`);
  const env = parsed.data;
  if (env.UPLOAD_TTL < env.RESULT_TTL) {
    throw new StartError(
      'Wrong setting: UPLOAD_TTL must not be shorter than RESULT_TTL, else results would name files that are gone.',
    );
  }
  if ((env.DASHBOARD_USER === undefined) !== (env.DASHBOARD_PASSWORD === undefined)) {
    throw new StartError('Wrong setting: DASHBOARD_USER and DASHBOARD_PASSWORD go together; set both or none.');
  }
  if (env.RECOGNIZE_REFUSE_WEAK_SECRETS) {
    const weak = weakSecret(env);
    if (weak !== undefined) throw new StartError(`Wrong setting: ${weak}`);
  }
  if (env.REDIS_CA_FILE !== undefined && !existsSync(env.REDIS_CA_FILE)) {
    throw new StartError('Wrong setting: REDIS_CA_FILE names a file that is not there.');
  }
  if (env.REDIS_CA_FILE !== undefined && /^redis(-|:)/i.test(env.REDIS_URL ?? '')) {
    throw new StartError(
      'Wrong setting: REDIS_CA_FILE goes with TLS; let REDIS_URL begin with rediss instead of redis.',
    );
  }
  if (
    env.STORAGE_URL !== undefined &&
    (env.AWS_ACCESS_KEY_ID === undefined) !== (env.AWS_SECRET_ACCESS_KEY === undefined)
  ) {
    throw new StartError('Wrong setting: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together; set both or none.');
  }
  if (env.S3_EXPIRY_RULE && !env.STORAGE_URL?.prefix) {
    throw new StartError(
      'Wrong setting: S3_EXPIRY_RULE needs a STORAGE_URL like s3://bucket/prefix: the rule removes all that lies below the prefix.',
    );
  }
  const machine = readMachineLimits();
  const choice = chooseSlots(machine, env.WORKER_CONCURRENCY);
  if (env.AUTOSCALE_FILE !== undefined && !existsSync(env.AUTOSCALE_FILE)) {
    throw new StartError('Wrong setting: AUTOSCALE_FILE names a file that is not there.');
  }
  const autoscaleFile = resolve(env.AUTOSCALE_FILE ?? 'autoscale.json');
  const dataDir = resolve(env.DATA_DIR);
  const uploadDir = resolve(env.UPLOAD_FOLDER ?? resolve(dataDir, 'uploads'));
  return Object.freeze({
    mode: env.MODE,
    redis: { url: env.REDIS_URL, caFile: env.REDIS_CA_FILE },
    web: {
      host: env.HOST,
      port: env.PORT,
      trustProxyHops: env.TRUST_PROXY,
      corsOrigins: env.CORS_ORIGINS,
      apiKeys: env.API_KEYS,
      rateLimit: env.API_RATE_LIMIT,
      metricsToken: env.METRICS_TOKEN,
    },
    dashboard: {
      host: env.DASHBOARD_HOST,
      port: env.DASHBOARD_PORT,
      user: env.DASHBOARD_USER,
      password: env.DASHBOARD_PASSWORD,
      users: env.DASHBOARD_USERS,
    },
    healthPort: env.HEALTH_PORT,
    paths: {
      root: PROJECT_ROOT,
      data: dataDir,
      uploads: uploadDir,
      tmp: resolve(env.TMP_DIR ?? resolve(uploadDir, '.tmp')),
      models: resolve(env.MODELS_DIR),
      manifest: resolve(PROJECT_ROOT, 'models', 'manifest.json'),
      logs: resolve(env.LOG_DIR),
    },
    bucket: env.STORAGE_URL === undefined ? undefined : { ...env.STORAGE_URL, ...bucketAccess(env) },
    expiryRule: env.S3_EXPIRY_RULE,
    encryptionKeys: env.RESULT_ENCRYPTION_KEY,
    traces:
      env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
        ? undefined
        : { endpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT, headers: env.OTEL_EXPORTER_OTLP_HEADERS },
    logLevel: env.LOG_LEVEL,
    logRotation: { rotateBytes: env.LOG_ROTATE_BYTES, keepFiles: env.LOG_KEEP_FILES, keepDays: env.LOG_KEEP_DAYS },
    limits: {
      uploadBytes: env.MAX_CONTENT_LENGTH,
      imagePixels: env.MAX_IMAGE_PIXELS,
      haarLongestSide: env.MAX_IMAGE_DIMENSION,
      queueLength: env.MAX_QUEUE_LENGTH,
      imageSeconds: env.TASK_TIME_LIMIT,
      videoSeconds: env.VIDEO_TIME_LIMIT,
    },
    models: {
      mirrors: env.MODELS_MIRROR,
      face: env.FACE_MODEL,
      object: env.OBJECT_MODEL,
      confidence: { face: env.FACE_DETECTION_CONFIDENCE, object: env.OBJECT_DETECTION_CONFIDENCE },
      nms: env.NMS_THRESHOLD,
      executionProviders: env.EXECUTION_PROVIDERS,
    },
    videoFrameSkip: env.VIDEO_FRAME_SKIP,
    worker: {
      concurrency: choice.slots,
      /** What kept the number of slots from being higher, and what there was to share out. */
      limitedBy: choice.limitedBy,
      machine,
      maxTasksPerChild: env.WORKER_MAX_TASKS_PER_CHILD,
      graceSeconds: env.GRACE_PERIOD,
    },
    /** Where the rules are by which workers are added and removed; undefined where there are none. */
    autoscaleFile: existsSync(autoscaleFile) ? autoscaleFile : undefined,
    ttl: { resultSeconds: env.RESULT_TTL, uploadSeconds: env.UPLOAD_TTL },
  });
}

export type Config = ReturnType<typeof loadConfig>;

const SECRETS = [
  'API_KEYS',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'DASHBOARD_PASSWORD',
  'DASHBOARD_USERS',
  'METRICS_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'REDIS_URL',
  'RESULT_ENCRYPTION_KEY',
] as const satisfies readonly (keyof z.infer<typeof Environment>)[];

/**
 * Takes what {@link loadConfig} has read of secrets out of this process's environment: programs that it starts, such as
 * ffmpeg on files of strangers, have no use for them.
 */
export function forgetSecrets(): void {
  for (const name of SECRETS) delete process.env[name];
}

/** The environment for a child process: this one's with `changes`, where undefined removes a variable. */
export function childEnvironment(changes: Record<string, string | undefined>): NodeJS.ProcessEnv {
  const environment = { ...process.env };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete environment[name];
    else environment[name] = value;
  }
  return environment;
}
