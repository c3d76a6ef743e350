import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { createLanes } from '../../src/lanes/lanes.ts';
import type { LaneTask } from '../../src/lanes/protocol.ts';
import { annotateVideo } from '../../src/media/annotate-video.ts';
import { probeVideo } from '../../src/media/probe-video.ts';
import { readVideoFrames } from '../../src/media/video-frames.ts';
import type { Context } from '../context.ts';
import { rssMb } from '../process-figures.ts';
import { atLeast, atMost, median, rounded, tell } from '../report.ts';
import { MANIFEST, MODELS_DIR } from '../service.ts';

const PIXELS = 100_000_000;
const NEVER = new AbortController().signal;

const BOX = { bbox: { x: 300, y: 200, width: 400, height: 500 }, text: 'face 1 90%', group: 0, trackId: 1 };

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function ffmpeg(args: readonly string[]): Promise<void> {
  const child = spawn('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
}

/** A clip of a person who signs, looped to `frames` and scaled. */
async function clip(source: string, folder: string, size: string, frames: number): Promise<string> {
  const path = join(folder, `${size}-${frames}.mp4`);
  const encode = ['-an', '-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p'];
  await ffmpeg(['-stream_loop', '-1', '-i', source, '-frames:v', String(frames), '-s', size, ...encode, path]);
  return path;
}

async function headerOf(path: string) {
  const file = await open(path);
  const head = new Uint8Array(4100);
  await file.read(head, 0, head.length, 0);
  await file.close();
  return probeVideo(path, head, { pixels: PIXELS });
}

function laneTask(path: string, folder: string, frameSkip: number, annotate: boolean, model: string): LaneTask {
  return {
    media: 'video',
    taskId: 'bench',
    kind: 'face',
    path,
    options: {
      model,
      confidence: 0.6,
      nms: 0.3,
      max_detections: 100,
      annotate: annotate ? 'true' : 'false',
      priority: 5,
      frame_skip: frameSkip,
      track: true,
    },
    files: {
      json: join(folder, 'out.json'),
      lines: join(folder, 'out.ndjson'),
      annotated: annotate ? join(folder, 'out.mp4') : null,
    },
  };
}

/** Highest resident memory of a process and all below it while `work` runs, in MiB. */
async function peakRss(pid: number, work: () => Promise<unknown>): Promise<number> {
  const { readdirSync, readFileSync } = await import('node:fs');
  let peak = 0;
  const look = () => {
    const parents = new Map<number, number>();
    for (const entry of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
        parents.set(entry, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      } catch {
        // it has ended in between
      }
    }
    let sum = 0;
    for (const [candidate] of parents) {
      let at: number | undefined = candidate;
      while (at !== undefined && at !== pid) at = parents.get(at);
      try {
        if (at === pid) sum += rssMb(candidate);
      } catch {
        // it has ended in between
      }
    }
    peak = Math.max(peak, sum);
  };
  const timer = setInterval(look, 200);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return peak;
}

/** (i) videos: decoding beside detection, the cost of skipping frames, drawing, memory, and the Python system's example. */
export async function measureVideos({ quick, models, slots }: Context, data: string) {
  const source = join(data, 'videos', 'signer.mkv');
  if (!existsSync(source)) return { left_out: 'there are no videos in the data folder' };
  const folder = await mkdtemp(join(tmpdir(), 'recognize-videos-'));
  const log = pino({ level: 'silent' });
  const settings = {
    modelsDir: MODELS_DIR,
    shippedManifest: MANIFEST,
    warm: [models.face.name],
    executionProviders: ['cpu' as const],
    haarLongestSide: 1920,
    imagePixels: PIXELS,
    renderThreads: Math.min(4, slots),
  };
  const lanes = createLanes(1, settings, 1_000_000, log);
  const rounds = quick ? 1 : 3;
  try {
    await lanes.warm();
    const run = async (path: string, frameSkip: number, annotate: boolean) => {
      const answer = await lanes.run(laneTask(path, folder, frameSkip, annotate, models.face.name), NEVER);
      if (!answer.ok) throw new Error(answer.message);
      return answer;
    };
    const small = await clip(source, folder, '640x480', 500);
    const large = await clip(source, folder, '1920x1080', quick ? 150 : 300);
    const [smallHeader, largeHeader] = [await headerOf(small), await headerOf(large)];

    const overlap: number[] = [];
    const skipping: number[] = [];
    const drawing: number[] = [];
    const example: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const size = { width: 640, height: 480 };
      const readAll = (path: string, header: typeof smallHeader, frameSkip: number) =>
        seconds(async () => {
          for await (const _ of readVideoFrames(path, header, { size, pixels: PIXELS, frameSkip }));
        });
      const decoding = 500 / (await readAll(small, smallHeader, 1));
      let inferenceMs = 0;
      const whole = await seconds(async () => {
        const { timings } = await run(small, 1, false);
        inferenceMs = (timings.inference + timings.postprocess) / 500;
      });
      overlap.push(500 / whole / Math.min(decoding, 1000 / inferenceMs));

      const plain = await seconds(() => ffmpeg(['-threads', '1', '-i', large, '-f', 'null', '-']));
      skipping.push((await readAll(large, largeHeader, 5)) / plain);

      const encode = [
        '-c:v',
        'libx264',
        '-preset',
        'veryfast',
        '-crf',
        '23',
        '-g',
        '120',
        '-threads',
        String(settings.renderThreads),
      ];
      const again = await seconds(() =>
        ffmpeg(['-threads', '1', '-i', large, ...encode, '-movflags', '+faststart', join(folder, 'again.mp4')]),
      );
      const boxes = Array.from({ length: Math.ceil((largeHeader.frames ?? 0) / 5) }, (_, i) => ({
        index: 5 * i,
        boxes: [BOX],
      }));
      const target = join(folder, 'drawn.mp4');
      const drawn = await seconds(() =>
        annotateVideo({
          source: large,
          header: largeHeader,
          boxes,
          frameSkip: 5,
          target,
          pixels: PIXELS,
          threads: settings.renderThreads,
        }),
      );
      drawing.push(again / drawn);

      example.push(await seconds(() => run(small, 5, true)));
      tell(
        `videos: overlap ${overlap.at(-1)?.toFixed(2)}, skipping ${skipping.at(-1)?.toFixed(2)}, drawing ${drawing.at(-1)?.toFixed(2)}, example ${example.at(-1)?.toFixed(1)} s`,
      );
    }

    const pid = (await lanes.usage())[0]?.pid ?? 0;
    const short = await clip(source, folder, '640x360', 300);
    const long = await clip(source, folder, '640x360', quick ? 3000 : 18_000);
    const shortMb = await peakRss(pid, () => run(short, 5, true));
    const longMb = await peakRss(pid, () => run(long, 5, true));
    tell(`videos: ${shortMb.toFixed(0)} MB for 10 s, ${longMb.toFixed(0)} MB for ${quick ? 100 : 600} s`);
    return {
      model: models.face.name,
      analysed_rate_of_possible: atLeast(median(overlap), 0.9),
      frame_skip_5_of_plain_decoding: atMost(median(skipping), 1.15),
      drawing_1080p_of_plain_encoding: atLeast(median(drawing), 0.7),
      example_500_frames_640x480_seconds: atMost(median(example), 3),
      memory: {
        ten_seconds_mb: rounded(shortMb, 0),
        long_seconds: quick ? 100 : 600,
        long_of_short: atMost(longMb / shortMb, 1.1),
      },
    };
  } finally {
    await lanes.close();
    await rm(resolve(folder), { recursive: true, force: true });
  }
}
