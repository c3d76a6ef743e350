import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isCalledLoopback, isProxied } from '../own-machine.ts';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

export function changesState(request: Request): boolean {
  return !SAFE_METHODS.has(request.method);
}

function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined;
}

/** `Sec-Fetch-Site` cannot be forged by a page; browsers leave it out on plain HTTP, then `Origin` tells. */
function comesFromOurPage(request: Request): boolean {
  const site = request.get('sec-fetch-site');
  if (site !== undefined) return site === 'same-origin';
  const origin = request.get('origin');
  return origin !== undefined && hostOf(origin) === hostOf(`http://${request.host}`);
}

/** Refuses state-changing calls that another site may have made a browser send. */
export const requireOwnOrigin: RequestHandler = (request, _response, next) => {
  if (changesState(request) && !comesFromOurPage(request)) {
    throw new AppError('FORBIDDEN', 'Changes are accepted from the pages of this dashboard only.');
  }
  next();
};

/**
 * Where no login guards the dashboard, only this machine may see it: neither another site whose name was made to point
 * here (DNS rebinding), nor a caller for whom a proxy speaks.
 */
export const requireLocalCaller: RequestHandler = (request, _response, next) => {
  if (isProxied(request.headers) || !isCalledLoopback(request.headers)) {
    throw new AppError(
      'FORBIDDEN',
      'Without a login the dashboard is for callers on this machine only. Set DASHBOARD_USER and DASHBOARD_PASSWORD to reach it from elsewhere.',
    );
  }
  next();
};
