import { randomBytes } from 'node:crypto';
import { chmod, readFile, rename, stat, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { parseArgs, parseEnv } from 'node:util';

const USAGE = `Usage: npm run secrets [-- options]
Puts strong secrets into .env, readable by you alone: REDIS_PASSWORD, DASHBOARD_USER, DASHBOARD_PASSWORD and
METRICS_TOKEN; on Linux also DOCKER_GID, the group that may use Docker's socket, for the autoscaler of Compose. What is set
there already stays as it is.
  --api-key <name>   also API_KEYS with a key of that name; the API then asks for it
  --encryption       also RESULT_ENCRYPTION_KEY; without that key nobody can read the results again
  --file <path>      another file than .env`;

const say = (line: string) => process.stdout.write(`${line}\n`);

const secret = (bytes: number) => randomBytes(bytes).toString('base64url');

type Options = { apiKey: string | undefined; encryption: boolean };

/** The settings to make, in the order in which they are written. */
function wanted({ apiKey, encryption }: Options): Record<string, () => string> {
  return {
    REDIS_PASSWORD: () => secret(32),
    DASHBOARD_USER: () => 'admin',
    DASHBOARD_PASSWORD: () => secret(18),
    METRICS_TOKEN: () => secret(32),
    ...(apiKey === undefined ? {} : { API_KEYS: () => `${apiKey}:${secret(32)}` }),
    ...(encryption ? { RESULT_ENCRYPTION_KEY: () => `k1:${randomBytes(32).toString('base64')}` } : {}),
  };
}

/** The group of Docker's socket; undefined where there is none, or it lies in a virtual machine. */
async function socketGroup(socket: string): Promise<number | undefined> {
  if (process.platform !== 'linux') return undefined;
  const found = await stat(socket).catch(() => undefined);
  return found?.isSocket() === true ? found.gid : undefined;
}

/** Settings that make others needless. */
function isCovered(name: string, set: NodeJS.Dict<string>): boolean {
  const login = name === 'DASHBOARD_USER' || name === 'DASHBOARD_PASSWORD';
  return Boolean(set[name]) || (login && Boolean(set.DASHBOARD_USERS));
}

/** The text with the settings added; a line that leaves one of them empty is replaced. */
function complete(text: string, added: Record<string, string>): string {
  const lines = text.split('\n').filter((line) => {
    const name = /^\s*(?:export\s+)?([A-Z_]+)\s*=/.exec(line)?.[1];
    return name === undefined || !Object.hasOwn(added, name);
  });
  while (lines.at(-1)?.trim() === '') lines.pop();
  return [...lines, ...Object.entries(added).map(([name, value]) => `${name}=${value}`), ''].join('\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      'api-key': { type: 'string' },
      encryption: { type: 'boolean', default: false },
      file: { type: 'string', default: '.env' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    say(USAGE);
    return 0;
  }
  const { file, 'api-key': apiKey } = values;
  if (apiKey !== undefined && !/^[\w.-]{1,64}$/.test(apiKey)) {
    throw new Error('The name of a key has letters, digits, _ . and - only.');
  }
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const set = parseEnv(text);
  const group = await socketGroup(set.DOCKER_SOCKET || '/var/run/docker.sock');
  const makers = Object.entries({
    ...wanted({ apiKey, encryption: values.encryption }),
    ...(group === undefined ? {} : { DOCKER_GID: () => String(group) }),
  });
  const added = Object.fromEntries(
    makers.filter(([name]) => !isCovered(name, set)).map(([name, make]) => [name, make()]),
  );
  for (const [name] of makers)
    say(Object.hasOwn(added, name) ? `${name}: made` : `${name}: is set already, left as it is`);

  if (Object.keys(added).length > 0) {
    const draft = `${file}.${process.pid}.draft`;
    await writeFile(draft, complete(text, added), { mode: 0o600, flag: 'wx' });
    await rename(draft, file);
  } else if (((await stat(file)).mode & 0o077) !== 0) {
    await chmod(file, 0o600);
  }
  say(`They are in ${file}, which only you can read.`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
