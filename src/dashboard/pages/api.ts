import type { Me } from '../../contract/admin.ts';
import { byId } from './dom.ts';

export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function call<T>(path: string, init: RequestInit): Promise<T> {
  const response = await fetch(`/api/admin${path}`, { ...init, signal: AbortSignal.timeout(15_000) }).catch(() => {
    throw new ApiError(0, 'The dashboard does not answer. This page tries again by itself.');
  });
  const body = (await response.json().catch(() => undefined)) as { data?: T; message?: string } | undefined;
  if (!response.ok || body === undefined) {
    throw new ApiError(response.status, body?.message ?? `The dashboard answered ${response.status}.`);
  }
  return body.data as T;
}

export function get<T>(path: string): Promise<T> {
  return call<T>(path, { method: 'GET' });
}

export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

type Tone = 'good' | 'bad';
let fading: number | undefined;

/** A line above the page; good news goes by itself. */
export function notify(text: string, tone: Tone): void {
  const notice = byId('notice');
  notice.textContent = text;
  notice.className = tone;
  notice.hidden = false;
  clearTimeout(fading);
  if (tone === 'good') fading = setTimeout(() => clearNotice(), 6000);
}

/** Takes the line away: what it was about is being tried anew. */
export function clearNotice(): void {
  byId('notice').hidden = true;
}

let outage = false;

/** Runs `work` now and then every so often, but only while somebody sees the page; says when it does not go through. */
export function keepFresh(work: () => Promise<unknown>, everyMs = 2000): () => void {
  let timer: number | undefined;
  let running = false;
  let stopped = false;

  async function round(): Promise<void> {
    clearTimeout(timer);
    if (running || stopped || document.hidden) return;
    running = true;
    try {
      await work();
      if (outage) clearNotice();
      outage = false;
    } catch (error) {
      outage = true;
      notify(error instanceof Error ? error.message : String(error), 'bad');
    }
    running = false;
    if (!stopped) timer = setTimeout(() => void round(), everyMs);
  }

  document.addEventListener('visibilitychange', () => void round());
  void round();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

let me: Promise<Me> | undefined;

/** Who is logged in. */
export function whoAmI(): Promise<Me> {
  me ??= get<Me>('/me').catch((error: unknown) => {
    me = undefined;
    throw error;
  });
  return me;
}

/** True for somebody who may change things; marks the page so that buttons for it show. */
export async function isAdmin(): Promise<boolean> {
  const { name, role, version } = await whoAmI();
  const who = byId('who');
  who.textContent = `${name} (${role})`;
  who.title = `Recognize ${version}`;
  return role === 'admin';
}

for (const link of document.querySelectorAll<HTMLAnchorElement>('header nav a')) {
  const path = link.getAttribute('href') ?? '';
  if (path !== '/' && location.pathname.startsWith(path)) link.setAttribute('aria-current', 'page');
}
