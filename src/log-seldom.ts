/** Lets each message through once in so many ms: for what is said again and again as long as a fault lasts. */
export function seldom(everyMs = 60_000): (message: string) => boolean {
  const saidAt = new Map<string, number>();
  return (message) => {
    const now = performance.now();
    for (const [said, at] of saidAt) if (now - at >= everyMs) saidAt.delete(said);
    if (saidAt.has(message)) return false;
    saidAt.set(message, now);
    return true;
  };
}
