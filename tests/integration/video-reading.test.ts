import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readVideoFrames, type VideoFrame } from '../../src/media/video-frames.ts';
import type { VideoHeader } from '../../src/media/video-header.ts';
import { ownChild } from '../support/child.ts';
import { ffmpeg, ffmpegsOn } from '../support/ffmpeg.ts';
import { untilGone } from '../support/processes.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { probeFile, readFile } from '../support/videos.ts';
import { waitFor } from '../support/wait-for.ts';

const SIZE = { width: 320, height: 240 };
const ALL = { size: SIZE, pixels: 1e8, frameSkip: 1 };

let folder: string;
/** Ten minutes at 30 frames a second, small enough to be made in seconds. */
let long: string;
let header: VideoHeader;

beforeAll(async () => {
  folder = tempDir('reading');
  long = join(folder, 'long.mp4');
  const pattern = 'testsrc=size=320x240:rate=30:duration=20';
  await ffmpeg('-f', 'lavfi', '-i', pattern, '-c:v', 'libx264', '-preset', 'ultrafast', join(folder, 'short.mp4'));
  await ffmpeg('-stream_loop', '29', '-i', join(folder, 'short.mp4'), '-c', 'copy', long);
  header = await probeFile(long);
});

const allGone = () => waitFor('the end of ffmpeg', () => ffmpegsOn(folder).length === 0);

describe('ending early', () => {
  test('leaving the loop ends ffmpeg and the thread', async () => {
    const video = readVideoFrames(long, header, ALL);
    let seen = 0;
    for await (const { index } of video) {
      expect(index).toBe(seen++);
      if (seen === 10) break;
    }
    await allGone();
    await expect(video.ended).resolves.toMatchObject({ framesRead: expect.any(Number) });
  });

  test('an error in the loop does', async () => {
    const failing = (async () => {
      for await (const { index } of readVideoFrames(long, header, ALL)) {
        if (index === 3) throw new Error('the detector broke');
      }
    })();
    await expect(failing).rejects.toThrow('the detector broke');
    await allGone();
  });

  test('an abort does, and is the reason', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const video = readVideoFrames(long, header, { ...ALL, signal: controller.signal });
    const reading = (async () => {
      for await (const { index } of video) if (index === 20) controller.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await expect(video.ended).rejects.toBe(reason);
    await allGone();
  });

  test('an abort does while the reader waits for a frame that is far away', async () => {
    const controller = new AbortController();
    const reason = new Error('out of time');
    const video = readVideoFrames(long, header, { ...ALL, startSeconds: 599, signal: controller.signal });
    const frame = video[Symbol.asyncIterator]().next();
    await waitFor('decoding', () => video.decoded() > 30);
    controller.abort(reason);
    await expect(frame).rejects.toBe(reason);
    await allGone();
  });

  test('closing does before anything is read, and an abort beforehand starts nothing', async () => {
    const video = readVideoFrames(long, header, ALL);
    await video.close();
    expect(ffmpegsOn(folder)).toEqual([]);
    const reason = new Error('too late');
    expect(() => readVideoFrames(long, header, { ...ALL, signal: AbortSignal.abort(reason) })).toThrow(reason);
  });

  test('what is wanted of the beginning costs no more than the beginning', async () => {
    const { frames, reading } = await readFile(long, { size: SIZE, endSeconds: 0.2 });
    expect(frames.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(reading).toMatchObject({ framesInFile: 18_000, framesRead: 6, endedCleanly: true });
  });

  test('a file that goes away is no fault of the video', async () => {
    const reading = readVideoFrames(join(folder, 'gone.mp4'), header, ALL)[Symbol.asyncIterator]().next();
    await expect(reading).rejects.toMatchObject({ name: 'TransientError' });
  });
});

describe('beside the detection', () => {
  test('decoding goes on while the caller is blocked, no farther than the ring, and nothing is overwritten', async () => {
    const video = readVideoFrames(long, header, ALL);
    const frames = video[Symbol.asyncIterator]();
    const first = (await frames.next()).value as VideoFrame;
    const pixels = first.frame.data.slice();
    await sleep(300);
    const decoded = video.decoded();
    expect(decoded).toBeGreaterThan(2);
    await sleep(300);
    expect(video.decoded()).toBe(decoded);
    expect(Buffer.compare(first.frame.data, pixels)).toBe(0);
    expect((await frames.next()).value).toMatchObject({ index: 1 });
    await video.close();
  });

  test('memory stays flat, however long the video', async () => {
    const memory: number[] = [];
    for await (const { index } of readVideoFrames(long, header, { ...ALL, frameSkip: 3 })) {
      if (index % 3000 !== 0) continue;
      globalThis.gc?.();
      const decoder = ffmpegsOn(folder).map((pid) => readFileSync(`/proc/${pid}/status`, 'utf8'));
      const kilobytes = decoder.reduce((sum, status) => sum + Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0), 0);
      memory.push(kilobytes * 1024 + process.memoryUsage.rss());
    }
    expect(memory).toHaveLength(6);
    const [, early = 0] = memory;
    // Room for a heap that has not been collected; a leak of one byte per pixel would be 1.4 GB.
    expect(Math.max(...memory) - early).toBeLessThan(60 * 2 ** 20);
  });

  test('kill -9 of the process ends ffmpeg', async () => {
    const script = `
      import { readVideoFrames } from ${JSON.stringify(new URL('../../src/media/video-frames.ts', import.meta.url).href)};
      const [path, header] = ${JSON.stringify([long, header])};
      for await (const { index } of readVideoFrames(path, header, ${JSON.stringify(ALL)})) if (index === 5) break;
      const held = readVideoFrames(path, header, ${JSON.stringify(ALL)})[Symbol.asyncIterator]();
      await held.next();
      console.log('reading');
      setInterval(() => {}, 1000);
    `;
    const parent = ownChild(
      spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    await once(parent.stdout, 'data');
    const decoders = ffmpegsOn(folder);
    expect(decoders).toHaveLength(1);
    parent.kill('SIGKILL');
    await Promise.all(decoders.map(untilGone));
  });
});

describe.skipIf(!requireShared())('files that lead elsewhere', () => {
  let server: Server;
  let connections = 0;
  let url: string;

  beforeAll(async () => {
    server = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    url = `http://127.0.0.1:${address.port}/clip.ts`;
  });
  afterAll(() => server.close());

  const scripts = (): [string, string][] => [
    ['an HLS playlist', `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n${url}\n#EXT-X-ENDLIST\n`],
    ['a playlist behind the signature of a GIF', `GIF89a\n#EXTM3U\n#EXTINF:1,\n${url}\n`],
    ['a concat script', `ffconcat version 1.0\nfile '${url}'\nfile '${sharedPath('data/videos/signer.mkv')}'\n`],
    ['a DASH manifest', `<?xml version="1.0"?><MPD><BaseURL>${url}</BaseURL></MPD>`],
    ['an SDP session', `v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n`],
    ['a SMIL text', `<smil><video src="${url}"/></smil>`],
    [
      'a reference movie',
      `\0\0\0\x08wide\0\0\0\x80moov\0\0\0\x78rmra\0\0\0\x70rmda\0\0\0\x68rdrf\0\0\0\0url \0\0\0\x50${url}\0`,
    ],
  ];

  test('are not followed, by neither the first look nor the reader', async () => {
    const forged = await probeFile(sharedPath('data/videos/signer.mkv'));
    for (const [what, text] of scripts()) {
      const path = join(folder, 'script.mp4');
      writeFileSync(path, text, 'latin1');
      await expect(probeFile(path), what).rejects.toMatchObject({ name: 'AppError' });
      for (const demuxer of ['mov', 'gif']) {
        const video = readVideoFrames(path, { ...forged, demuxer }, ALL);
        for await (const _ of video) throw new Error(`a frame out of ${what}`);
        await expect(video.ended, what).resolves.toMatchObject({ framesRead: 0, endedCleanly: false });
      }
    }
    expect(connections).toBe(0);
  });
});
