/** One server-sent event, its data parsed. */
export type ServerEvent = { event: string; data: unknown; at: number };

export type EventStream = {
  status: number;
  headers: Headers;
  events: ServerEvent[];
  /** Lines that are comments, such as heartbeats. */
  comments: string[];
  /** Resolves when the server has closed the stream. */
  closed: Promise<void>;
  abort(): void;
};

/** Reads a stream of server-sent events as the HTML standard defines them, strictly: nothing may be left over. */
export async function openEvents(url: string, headers: Record<string, string> = {}): Promise<EventStream> {
  const abort = new AbortController();
  const response = await fetch(url, { headers: { Accept: 'text/event-stream', ...headers }, signal: abort.signal });
  const stream: Omit<EventStream, 'closed'> = {
    status: response.status,
    headers: response.headers,
    events: [],
    comments: [],
    abort: () => abort.abort(),
  };
  async function read(): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        const fields = new Map(
          lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).replace(/^ /, '')]),
        );
        const comment = fields.get('');
        const data = fields.get('data');
        if (comment !== undefined) stream.comments.push(comment);
        if (data === undefined) continue;
        stream.events.push({ event: fields.get('event') ?? 'message', data: JSON.parse(data), at: Date.now() });
      }
    }
    if (text !== '') throw new Error(`The stream ended within an event: ${text}`);
  }
  const closed = read().catch((error: unknown) => {
    if (!abort.signal.aborted) throw error;
  });
  return Object.assign(stream, { closed });
}
