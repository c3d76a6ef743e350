import { createHash } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';

/** Systems take 104 to 108 bytes; some room for the terminating zero and a margin. */
const LONGEST_SOCKET_PATH = 100;

/**
 * Where the Redis of a data folder listens: inside the folder or, where its path is too long for a Unix socket, in a
 * private folder under the system's temporary one that always is the same for the same data folder.
 *
 * @throws StartError when that temporary folder is not ours alone
 */
export async function socketPathFor(folder: string): Promise<string> {
  const inside = join(folder, 'redis.sock');
  if (Buffer.byteLength(inside) <= LONGEST_SOCKET_PATH) return inside;
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  const apart = join(tmpdir(), `recognize-${digest}`);
  makeFolder(apart, 0o700);
  const found = await lstat(apart);
  const foreign = process.getuid !== undefined && found.uid !== process.getuid();
  if (!found.isDirectory() || (found.mode & 0o077) !== 0 || foreign) {
    throw new StartError(`${apart} belongs to somebody else. Remove it or choose a shorter DATA_DIR.`);
  }
  return join(apart, 'redis.sock');
}

/**
 * Sends one command over a new connection and resolves with the first line of the answer, '' when the server hangs up.
 * Errors of the server are answers, too ("-LOADING ...").
 *
 * @throws Error when nobody listens or no answer comes within `timeoutMs`
 */
export function askRedis(socketPath: string, command: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let answer = '';
    const timer = setTimeout(() => socket.destroy(new Error('Redis does not answer.')), timeoutMs);
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${command}\r\n`));
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.includes('\r\n')) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer.split('\r\n', 1)[0] ?? '');
    });
  });
}
