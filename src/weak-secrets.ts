/** Passwords that people type are guessed against a slow hash; keys are not, and may be tried from many addresses. */
const LEAST_CHARACTERS = { password: 8, key: 16 } as const;

const COMMON =
  /^(.)\1*$|^(pass(word|wd)?|admin(istrator)?|secret|change-?me|recognize|default|letmein|qwert[yz]\w*)[\d!.]*$|^0?12345\d*$/i;

type Secrets = {
  DASHBOARD_USER?: string | undefined;
  DASHBOARD_PASSWORD?: string | undefined;
  METRICS_TOKEN?: string | undefined;
  API_KEYS: readonly { name: string; key: string }[];
};

function weakness(secret: string, kind: keyof typeof LEAST_CHARACTERS): string | undefined {
  if (secret.length < LEAST_CHARACTERS[kind]) return `is shorter than ${LEAST_CHARACTERS[kind]} characters`;
  return COMMON.test(secret) ? 'is one of those that are tried first' : undefined;
}

/** A sentence on the first secret that is set and can be guessed; undefined where there is none. */
export function weakSecret({
  DASHBOARD_USER,
  DASHBOARD_PASSWORD,
  METRICS_TOKEN,
  API_KEYS,
}: Secrets): string | undefined {
  const MEND = 'Choose a longer one, or remove it from .env and let `npm run secrets` make one.';
  const password = DASHBOARD_PASSWORD === undefined ? undefined : weakness(DASHBOARD_PASSWORD, 'password');
  if (password !== undefined) return `DASHBOARD_PASSWORD ${password}. ${MEND}`;
  if (DASHBOARD_PASSWORD !== undefined && DASHBOARD_PASSWORD === DASHBOARD_USER) {
    return `DASHBOARD_PASSWORD is the same as DASHBOARD_USER. ${MEND}`;
  }
  const token = METRICS_TOKEN === undefined ? undefined : weakness(METRICS_TOKEN, 'key');
  if (token !== undefined) return `METRICS_TOKEN ${token}. ${MEND}`;
  for (const { name, key } of API_KEYS) {
    const problem = weakness(key, 'key');
    if (problem !== undefined) return `The key of ${name} in API_KEYS ${problem}. ${MEND}`;
  }
  return undefined;
}
