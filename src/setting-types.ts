import { z } from 'zod';
import { parseRedisUrl, REDIS_URL_FORMS } from './redis-url.ts';

/*
 * How settings are read from text: an empty one counts as unset, and each refusal is the end of a sentence that the
 * setting's name begins.
 */

export const blankIsUnset = (value: unknown) => (typeof value === 'string' && value.trim() === '' ? undefined : value);
export const text = z.preprocess(blankIsUnset, z.string().trim().optional());
export const textOr = (fallback: string) => z.preprocess(blankIsUnset, z.string().trim().default(fallback));
export const integer = (min: number, max: number) =>
  z.preprocess(
    blankIsUnset,
    z
      .string()
      .trim()
      .regex(/^[+-]?\d+$/, 'must be a whole number')
      .transform(Number)
      .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`))
      .optional(),
  );
export const integerOr = (fallback: number, min: number, max = Number.MAX_SAFE_INTEGER) =>
  integer(min, max).transform((value) => value ?? fallback);
export const fraction = z.preprocess(
  blankIsUnset,
  z
    .string()
    .trim()
    .regex(/^[+-]?\d*\.?\d+$/, 'must be a number')
    .transform(Number)
    .pipe(z.number().min(0, 'must be between 0 and 1').max(1, 'must be between 0 and 1'))
    .optional(),
);
export const port = (fallback: number) => integerOr(fallback, 0, 65535);
export const flag = (fallback: boolean) => z.preprocess(blankIsUnset, z.stringbool().default(fallback));
export const list = z.preprocess(
  blankIsUnset,
  z
    .string()
    .default('')
    .transform((value) =>
      value
        .split(',')
        .map((part) => part.trim())
        .filter(Boolean),
    ),
);

/** Node's timers run over a little later than this. */
export const LONGEST_TIMER_SECONDS = 2_000_000;

const PERIOD_SECONDS = { second: 1, minute: 60, hour: 3600, day: 86400 } as const;

export const rateLimit = z.preprocess(
  blankIsUnset,
  z
    .string()
    .trim()
    .regex(/^[1-9]\d*\s*(per|\/)\s*(second|minute|hour|day)$/i, 'must look like "100 per hour"')
    .transform((value) => {
      const [points, , unit] = value.toLowerCase().split(/\s*(per|\/)\s*/) as [
        string,
        string,
        keyof typeof PERIOD_SECONDS,
      ];
      return { points: Number(points), seconds: PERIOD_SECONDS[unit] };
    })
    .optional(),
);

export const apiKeys = list.transform((entries, context) => {
  const keys = new Set<string>();
  return entries.map((entry) => {
    const at = entry.indexOf(':');
    const name = entry.slice(0, at);
    const key = entry.slice(at + 1);
    if (at < 1 || key === '' || !/^[A-Za-z0-9_.-]{1,64}$/.test(name)) {
      context.addIssue({ code: 'custom', message: 'must be a comma-separated list of name:key' });
      return z.NEVER;
    }
    if (keys.has(key)) context.addIssue({ code: 'custom', message: 'must not give one key to two names' });
    keys.add(key);
    return { name, key };
  });
});

export const dashboardUsers = list.transform((entries, context) =>
  entries.map((entry) => {
    const [name, role, ...rest] = entry.split(':');
    const hash = rest.join(':');
    if (!name || (role !== 'admin' && role !== 'viewer') || hash === '') {
      context.addIssue({
        code: 'custom',
        message: 'must be a comma-separated list of name:role:scrypt-hash with role admin or viewer',
      });
      return z.NEVER;
    }
    return { name, role: role as 'admin' | 'viewer', hash };
  }),
);

const BUCKET_URL = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([A-Za-z0-9!_.*'()/-]*))?$/;

/** `s3://bucket/prefix`; the prefix comes out empty or with a slash at its end. */
export const storageUrl = z.preprocess(
  blankIsUnset,
  z
    .string()
    .trim()
    .regex(BUCKET_URL, 'must look like s3://bucket or s3://bucket/prefix')
    .transform((value) => {
      const [, bucket = '', path = ''] = BUCKET_URL.exec(value) ?? [];
      const folders = path.split('/').filter(Boolean);
      return { bucket, prefix: folders.map((folder) => `${folder}/`).join('') };
    })
    .optional(),
);

export const httpUrl = z.preprocess(
  blankIsUnset,
  z
    .string()
    .trim()
    .refine(
      (value) => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol),
      'must be a URL such as https://s3.example.org',
    )
    .optional(),
);

/** `name=value,name=value` with values as in URLs: the OpenTelemetry specification's way to write HTTP headers. */
export const headers = list.transform((entries, context) => {
  const found: Record<string, string> = {};
  for (const entry of entries) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~\w-]+)\s*=\s*([\x21-\x7e][\x20-\x7e]*)$/.exec(entry) ?? [];
    try {
      found[name] = decodeURIComponent(value);
    } catch {
      delete found[name];
    }
    if (name === '' || found[name] === undefined) {
      context.addIssue({ code: 'custom', message: 'must be a comma-separated list of name=value' });
      return z.NEVER;
    }
  }
  return found;
});

const ENCRYPTION_KEY_BYTES = 32;

/** `id:base64 of 32 bytes`, several separated by commas. */
export const encryptionKeys = list.transform((entries, context) => {
  const refuse = (message: string) => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  const ids = new Set<string>();
  return entries.map((entry) => {
    const [, id = '', encoded = ''] = /^([A-Za-z0-9_.-]{1,32}):([A-Za-z0-9+/_-]{43}=?)$/.exec(entry) ?? [];
    const secret = new Uint8Array(Buffer.from(encoded, 'base64'));
    if (secret.length !== ENCRYPTION_KEY_BYTES)
      return refuse('must be id:key with a key of 32 bytes as base64 (`openssl rand -base64 32`), more after commas');
    if (ids.has(id)) return refuse('must not have two keys of one id');
    ids.add(id);
    return { id, secret };
  });
});

export const redisUrl = z.preprocess(
  blankIsUnset,
  z
    .string()
    .trim()
    .refine((value) => parseRedisUrl(value) !== undefined, `must look like ${REDIS_URL_FORMS}`)
    .optional(),
);

export const origins = list.refine(
  (values) => values.every((value) => value === '*' || (URL.canParse(value) && new URL(value).origin === value)),
  'must be a comma-separated list of origins such as https://example.org',
);
