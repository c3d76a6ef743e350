import { createStack, docker, HAS_V2, removeImages } from './stack.ts';

/** Builds the images once, under a tag of this run's own; tests find it in RECOGNIZE_TEST_TAG, which test.sh may have set. */
export async function setup(): Promise<() => Promise<void>> {
  const tag = process.env.RECOGNIZE_TEST_TAG ?? `test${process.pid}`;
  process.env.RECOGNIZE_TEST_TAG = tag;
  const stack = await createStack(HAS_V2 ? 2 : 1);
  await stack.compose('--profile', 'autoscale', 'build');
  const ours = ['--filter', 'label=com.docker.compose.project'];
  return async () => {
    await removeImages(tag);
    const left = await docker('ps', '-a', ...ours, '--format', '{{.Names}}');
    const strays = left.split('\n').filter((name) => name.startsWith(`r${tag}`));
    if (strays.length > 0) throw new Error(`Tests left containers behind: ${strays.join(' ')}`);
  };
}
