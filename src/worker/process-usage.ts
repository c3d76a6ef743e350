import process from 'node:process';

/** CPU of this process alone, in percent of one core, between one question and the next. */
export function measureCpu(): { percent(): number } {
  let before = process.cpuUsage();
  let at = performance.now();
  let last = 0;
  return {
    percent() {
      const now = performance.now();
      // Two questions at once would divide by next to nothing.
      if (now - at < 500) return last;
      const { user, system } = process.cpuUsage(before);
      last = ((user + system) / 1000 / (now - at)) * 100;
      before = process.cpuUsage();
      at = now;
      return last;
    },
  };
}
