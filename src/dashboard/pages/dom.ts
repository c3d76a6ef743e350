type Child = Node | string | number | null | undefined | false | Child[];
type Attributes = Record<string, string | number | boolean | null | undefined>;

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'path', 'rect', 'line', 'text', 'g', 'polyline', 'title', 'circle']);

function append(parent: Element, child: Child): void {
  if (child === null || child === undefined || child === false) return;
  if (Array.isArray(child)) for (const each of child) append(parent, each);
  // Strings become text and nothing else: no name or label can bring markup with it.
  else parent.append(child instanceof Node ? child : String(child));
}

/** An element; attributes that are false, null or undefined are left out. */
export function h(tag: string, attributes: Attributes = {}, ...children: Child[]): HTMLElement {
  const element = (SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag)) as HTMLElement;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

function sameKind(a: Node, b: Node): boolean {
  if (!(a instanceof Element) || !(b instanceof Element)) return a.nodeType === b.nodeType;
  return a.tagName === b.tagName && a.getAttribute('data-key') === b.getAttribute('data-key');
}

/** What a person has typed, opened or plays is left alone. */
const isTheirs = (element: Element) => element.hasAttribute('data-keep');

function patchElement(from: Element, to: Element): void {
  if (isTheirs(from) && isTheirs(to)) return;
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && name !== 'open') from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  patchChildren(from, [...to.childNodes]);
}

function patchChildren(parent: Element, wanted: Node[]): void {
  for (const [index, next] of wanted.entries()) {
    const now = parent.childNodes[index];
    if (now === undefined) parent.append(next);
    else if (!sameKind(now, next)) now.replaceWith(next);
    else if (now instanceof Element && next instanceof Element) patchElement(now, next);
    else if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
  }
  while (parent.childNodes.length > wanted.length) parent.lastChild?.remove();
}

/** Makes an element hold these children, changing only what differs: focus, clicks under way and scrolling survive. */
export function show(parent: Element, ...children: Child[]): void {
  const draft = h('div', {}, children);
  patchChildren(parent, [...draft.childNodes]);
}

/** The one element with this id. */
export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`The page has no ${id}.`);
  return element;
}

/** Calls back with the element that was pressed and has `data-do` of this name, also one that is shown later. */
export function onPress(name: string, callback: (element: HTMLElement) => void): void {
  document.addEventListener('click', (event) => {
    const pressed = event.target instanceof Element ? event.target.closest<HTMLElement>(`[data-do="${name}"]`) : null;
    if (pressed !== null) callback(pressed);
  });
}
