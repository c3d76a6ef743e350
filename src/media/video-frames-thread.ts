/**
 * The thread that decodes a video: runs ffmpeg, fills the ring with the frames that are wanted and reports in the end.
 */
import { TransientError } from '../errors.ts';
import { spawnCaged } from './cage.ts';
import { createDecodingErrors } from './decoding-errors.ts';
import { createFrameReport } from './frame-report.ts';
import { createRingWriter, type FrameFacts, type FrameRing } from './frame-ring.ts';
import type { FrameSelection } from './frame-selection.ts';
import { type RunningJob, serveJobs } from './serve-jobs.ts';
import type { Ratio } from './video-header.ts';

export type FramesJob = {
  args: string[];
  demuxer: string;
  ring: FrameRing;
  selection: FrameSelection;
  timeBase: Ratio;
};

export type FramesReport = {
  /** Frames decoded, and those of them that were handed over. */
  decoded: number;
  read: number;
  /** True where decoding ended before the file did, because nothing more was wanted. */
  stoppedEarly: boolean;
  /** What went wrong on the way, in ffmpeg's words. */
  error: string | undefined;
  /** A fault that is not the file's. */
  fault: string | undefined;
};

type Ending = Pick<FramesReport, 'error' | 'fault'>;

function startReading(
  { args, demuxer, ring, selection, timeBase }: FramesJob,
  post: (report: FramesReport) => void,
): RunningJob<never> {
  const writer = createRingWriter(ring);
  const report = createFrameReport(selection, timeBase);
  const errors = createDecodingErrors(demuxer);
  const enough = new Error('nothing more is wanted');
  let read = 0;

  const ffmpeg = spawnCaged('ffmpeg', args, {}, { withReport: true });
  ffmpeg.stderr.on('data', (text: string) => errors.add(text, report.decoded() > 0));
  ffmpeg.report?.setEncoding('latin1').on('data', (text: string) => {
    report.add(text);
    writer.countDecoded(report.decoded());
    endIfComplete();
  });
  ffmpeg.report?.once('close', report.end);

  function endIfComplete(): void {
    if (report.isPastEnd() && report.selected() === read) ffmpeg.kill(enough);
  }

  async function nextFacts(): Promise<FrameFacts> {
    const facts = await report.next();
    read++;
    return facts;
  }

  async function pump(): Promise<undefined> {
    for await (const chunk of ffmpeg.stdout) {
      if (!(await writer.write(chunk, nextFacts))) return;
      endIfComplete();
    }
  }

  async function end(): Promise<Ending> {
    const pumped = pump().catch((error: Error) => error);
    try {
      await ffmpeg.ended;
    } catch (error) {
      if (error === enough) return { error: errors.last(), fault: undefined };
      if (error instanceof TransientError) return { error: undefined, fault: error.message };
      return { error: errors.last() ?? (error as Error).message, fault: undefined };
    }
    const broken = await pumped;
    if (broken !== undefined) return { error: undefined, fault: broken.message };
    if (writer.isAmidFrame() || report.selected() !== read) {
      return { error: undefined, fault: 'ffmpeg wrote fewer frames than it reported' };
    }
    return { error: errors.last(), fault: undefined };
  }

  return {
    receive() {
      ffmpeg.kill(enough);
      writer.close();
    },
    ended: end().then((ending) => {
      post({ decoded: report.decoded(), read, stoppedEarly: report.isPastEnd(), ...ending });
      writer.close();
    }),
  };
}

serveJobs(startReading);
