import { expect } from 'vitest';
import type { ImageResult, TaskResult } from '../../src/contract/results.ts';
import { Task } from '../../src/contract/task.ts';
import { isErrorCode } from '../../src/errors.ts';
import { waitFor } from './wait-for.ts';

export type Envelope = {
  success: boolean;
  message?: string;
  error_code?: string;
  timestamp: string;
  data: Record<string, unknown>;
  details?: unknown[];
};

export type Answer = { status: number; headers: Headers; body: Envelope; text: string; ms: number };

/** Folders, sockets, hosts, source lines and tools: nothing of the sort may be in an answer. */
const INSIDES =
  /\/(tmp|root|home|work|usr|var|etc|proc|dev)\/|node_modules|\.sock\b|unix:|127\.0\.0\.1|localhost|::1|\bat \S+ \(|\.[jt]s:\d|vips|ffmpeg|ioredis|bullmq|ECONN|ENOENT/i;

/** Checks what holds for every JSON answer of the API. */
export function checkEnvelope(body: Envelope, text: string): void {
  expect(text).not.toMatch(INSIDES);
  expect(new Date(body.timestamp).toISOString()).toBe(body.timestamp);
  expect(Math.abs(Date.now() - Date.parse(body.timestamp))).toBeLessThan(60_000);
  if (body.success) {
    expect(body.data).toBeTypeOf('object');
    expect(body).not.toHaveProperty('error_code');
    return;
  }
  expect(body).not.toHaveProperty('data');
  expect(body.message).toMatch(/^[A-Z].*\.$/s);
  expect(isErrorCode(body.error_code ?? '')).toBe(true);
}

/** Sends a request whose answer must be an envelope. */
export async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const start = performance.now();
  const response = await fetch(url, { redirect: 'manual', ...init });
  const text = await response.text();
  const ms = performance.now() - start;
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  const body = JSON.parse(text) as Envelope;
  checkEnvelope(body, text);
  return { status: response.status, headers: response.headers, body, text, ms };
}

export function expectError(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body.error_code }).toEqual({ status, code });
}

export type Upload = {
  /** Content of the field `file`; undefined sends none. */
  file?: Uint8Array<ArrayBuffer> | undefined;
  name?: string;
  type?: string;
  fields?: Record<string, string> | [string, string][];
  query?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
};

/** Posts a file to a detection route such as `face/image`. */
export function post(url: string, route: string, upload: Upload): Promise<Answer> {
  const form = new FormData();
  const fields = Array.isArray(upload.fields) ? upload.fields : Object.entries(upload.fields ?? {});
  for (const [name, value] of fields) form.append(name, value);
  const { file, name = 'picture.jpg', type = 'application/octet-stream' } = upload;
  if (file !== undefined) form.append('file', new Blob([file], { type }), name);
  return call(`${url}/api/detect/${route}${upload.query === undefined ? '' : `?${upload.query}`}`, {
    method: 'POST',
    body: form,
    headers: upload.headers ?? {},
    signal: upload.signal ?? null,
  });
}

/** Posts a file that must be accepted; answers the id of its task. */
export async function submit(url: string, route: string, upload: Upload): Promise<string> {
  const answer = await post(url, route, upload);
  expect(answer.status, answer.text).toBe(202);
  return String(answer.body.data.task_id);
}

/** A task whose result is one of pictures, where nothing else is said. */
export type TaskOf<R extends TaskResult = ImageResult> = Omit<Task, 'result'> & { result?: R | undefined };

export async function getTask<R extends TaskResult = ImageResult>(
  url: string,
  taskId: string,
  headers: Record<string, string> = {},
): Promise<TaskOf<R>> {
  const answer = await call(`${url}/api/task/${taskId}`, { headers });
  expect(answer.status, answer.text).toBe(200);
  return Task.parse(answer.body.data) as TaskOf<R>;
}

/** The task once it is in one of these states. */
export function taskIn<R extends TaskResult = ImageResult>(
  url: string,
  taskId: string,
  states: readonly string[],
  { headers = {}, timeoutMs = 20_000 } = {},
): Promise<TaskOf<R>> {
  return waitFor(
    `${states.join(' or ')} of task ${taskId}`,
    async () => {
      const task = await getTask<R>(url, taskId, headers);
      return states.includes(task.state) ? task : undefined;
    },
    { timeoutMs, intervalMs: 30 },
  );
}

export function ended<R extends TaskResult = ImageResult>(
  url: string,
  taskId: string,
  headers: Record<string, string> = {},
): Promise<TaskOf<R>> {
  return taskIn<R>(url, taskId, ['SUCCESS', 'FAILURE', 'REVOKED'], { headers });
}
