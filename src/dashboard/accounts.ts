import { randomBytes } from 'node:crypto';
import { link, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { StartError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';
import { isLoopbackHost } from '../own-machine.ts';
import { hashPassword, type PasswordHash, parsePasswordHash } from './password.ts';

export type Role = 'admin' | 'viewer';
export type Account = { name: string; role: Role; hash: PasswordHash };

/** Keeps the hash of the password that was made for this data folder. */
const PASSWORD_FILE = 'dashboard-password';
const MADE_NAME = 'admin';

function configuredAccounts(users: Config['dashboard']['users']): Account[] {
  const names = new Set<string>();
  return users.map(({ name, role, hash: text }) => {
    const hash = parsePasswordHash(text);
    if (hash === undefined) {
      throw new StartError(
        `Wrong setting: DASHBOARD_USERS has no usable hash for ${name}; \`npm run hash-password\` makes one.`,
      );
    }
    if (names.has(name)) throw new StartError(`Wrong setting: DASHBOARD_USERS names ${name} twice.`);
    names.add(name);
    return { name, role, hash };
  });
}

async function account(name: string, role: Role, hashText: string): Promise<Account> {
  const hash = parsePasswordHash(hashText);
  if (hash === undefined) {
    throw new StartError(`The file ${PASSWORD_FILE} in DATA_DIR is damaged. Remove it, and a new password is made.`);
  }
  return { name, role, hash };
}

/** Writes the file whole or not at all. @returns false where another process was faster */
async function keep(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(draft);
  }
}

/** The account of a data folder: its password is made and announced once, only the hash is kept. */
async function madeAccount(dataDir: string, announce: (line: string) => void): Promise<Account> {
  const path = join(dataDir, PASSWORD_FILE);
  try {
    const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (kept === undefined) {
      makeFolder(dataDir);
      const password = randomBytes(15).toString('base64url');
      const hash = await hashPassword(password);
      if (!(await keep(path, `${hash}\n`))) return await madeAccount(dataDir, announce);
      announce(`dashboard login: user ${MADE_NAME}, password ${password} (shown this once)`);
      return await account(MADE_NAME, 'admin', hash);
    }
    announce(
      `dashboard login: user ${MADE_NAME}, password as shown at the first start (remove ${path} to have a new one made)`,
    );
    return await account(MADE_NAME, 'admin', kept.trim());
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(
      'The password of the dashboard cannot be kept in DATA_DIR. Make the folder writable, or set DASHBOARD_USER and DASHBOARD_PASSWORD.',
    );
  }
}

/**
 * Who may log in; nobody listed means that no login is needed.
 *
 * @param announce gets the line with a password that was made; it must not reach a log file
 * @throws StartError
 */
export async function resolveAccounts(
  { host, user, password, users }: Config['dashboard'],
  dataDir: string,
  announce: (line: string) => void,
): Promise<Account[]> {
  if (users.length > 0) return configuredAccounts(users);
  if (user !== undefined && password !== undefined) return [await account(user, 'admin', await hashPassword(password))];
  return isLoopbackHost(host) ? [] : [await madeAccount(dataDir, announce)];
}
