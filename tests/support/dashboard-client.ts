import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';

export type Login = { name: string; password: string };
export type AdminAnswer<T = Record<string, unknown>> = {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Of a successful answer. */
  data: T;
  code: string | undefined;
  message: string;
};

type Call = {
  method?: string;
  body?: unknown;
  login?: Login | undefined;
  origin?: string | null;
  headers?: Record<string, string>;
};

/** Asks a dashboard as its own pages do: with its Origin, as JSON. */
export function askDashboard<T = Record<string, unknown>>(
  url: string,
  path: string,
  call: Call = {},
): Promise<AdminAnswer<T>> {
  const { method = call.body === undefined ? 'GET' : 'POST', body, login, origin = url } = call;
  const headers: Record<string, string> = {
    ...(origin === null ? {} : { Origin: origin }),
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(login === undefined
      ? {}
      : { Authorization: `Basic ${Buffer.from(`${login.name}:${login.password}`).toString('base64')}` }),
    ...call.headers,
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest(url + path, { method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => {
        const isJson = response.headers['content-type']?.startsWith('application/json') === true;
        const parsed = isJson ? (JSON.parse(text) as { data?: T; error_code?: string; message?: string }) : {};
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          data: parsed.data as T,
          code: parsed.error_code,
          message: parsed.message ?? '',
        });
      });
    });
    request.once('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
