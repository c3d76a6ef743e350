const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"' };

/** One token: a quoted string, a whole number, or a mark. */
const TOKEN = /\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(\d+)|([[\]{}(),:]))/suy;

type Token = { text: string } | { number: number } | { mark: string };

function unescaped(raw: string): string {
  return raw.replace(/\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.))/gsu, (whole, x, u, long, plain) => {
    const code = x ?? u ?? long;
    if (code === undefined) return ESCAPES[plain] ?? whole;
    const point = Number.parseInt(code, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

function tokensOf(text: string): Token[] | undefined {
  const tokens: Token[] = [];
  const source = text.trim();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const match = TOKEN.exec(source);
    if (match === null) return undefined;
    const [, single, double, digits, mark] = match;
    if (mark !== undefined) tokens.push({ mark });
    else if (digits !== undefined) tokens.push({ number: Number(digits) });
    else tokens.push({ text: unescaped(single ?? double ?? '') });
  }
  return tokens;
}

/** The elements between the brackets, each as its tokens; a comma after the last one is allowed as in Python. */
function elementsOf(tokens: readonly Token[]): Token[][] {
  const elements: Token[][] = [[]];
  for (const token of tokens.slice(1, -1)) {
    if ('mark' in token && token.mark === ',') elements.push([]);
    else elements.at(-1)?.push(token);
  }
  if (elements.at(-1)?.length === 0) elements.pop();
  return elements;
}

const isMark = (token: Token | undefined, mark: string) =>
  token !== undefined && 'mark' in token && token.mark === mark;

function enclosed(tokens: readonly Token[], open: string, close: string): boolean {
  return tokens.length >= 2 && isMark(tokens[0], open) && isMark(tokens.at(-1), close);
}

/**
 * Reads class names as exporters write them: `{0: 'person', 1: 'car'}` or `['person', 'car']`, in Python's or JSON's
 * quotes.
 *
 * @returns names by class number, undefined when the text is anything else or leaves a number out
 */
export function parseNames(text: string): string[] | undefined {
  const tokens = tokensOf(text);
  if (tokens === undefined) return undefined;
  const names: string[] = [];
  if (enclosed(tokens, '[', ']') || enclosed(tokens, '(', ')')) {
    for (const [name, ...rest] of elementsOf(tokens)) {
      if (name === undefined || !('text' in name) || rest.length > 0) return undefined;
      names.push(name.text);
    }
    return names;
  }
  if (!enclosed(tokens, '{', '}')) return undefined;
  const elements = elementsOf(tokens);
  for (const [key, colon, name, ...rest] of elements) {
    if (key === undefined || !isMark(colon, ':') || name === undefined || rest.length > 0) return undefined;
    const index = 'number' in key ? key.number : 'text' in key && /^\d+$/.test(key.text) ? Number(key.text) : -1;
    if (!('text' in name) || index < 0 || index >= elements.length || names[index] !== undefined) return undefined;
    names[index] = name.text;
  }
  return names;
}

/** Reads `[480, 640]` or `640` as whole numbers. */
export function parseNumbers(text: string): number[] | undefined {
  const tokens = tokensOf(text);
  if (tokens === undefined) return undefined;
  const elements = enclosed(tokens, '[', ']') || enclosed(tokens, '(', ')') ? elementsOf(tokens) : [tokens];
  const numbers: number[] = [];
  for (const [element, ...rest] of elements) {
    if (element === undefined || !('number' in element) || rest.length > 0) return undefined;
    numbers.push(element.number);
  }
  return numbers;
}
