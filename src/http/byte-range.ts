/** A part of a file, from a byte up to, not including, another. */
export type ByteRange = { from: number; to: number };

/**
 * The part of a file that the header `Range` asks for (RFC 9110, 14.1.2): undefined for the whole file, which several
 * parts at once, other units and what makes no sense count as, too; null where the file has no such bytes.
 *
 * @param bytes size of the file
 */
export function readByteRange(header: string | undefined, bytes: number): ByteRange | undefined | null {
  const [, first = '', last = ''] = /^\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/i.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') {
    // So many bytes from the end.
    const length = Math.min(Number(last), bytes);
    return length === 0 ? null : { from: bytes - length, to: bytes };
  }
  const from = Number(first);
  const to = last === '' ? bytes : Math.min(Number(last) + 1, bytes);
  if (last !== '' && Number(last) < from) return undefined;
  return from < bytes ? { from, to } : null;
}
