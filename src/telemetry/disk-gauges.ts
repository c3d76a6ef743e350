import { statfs } from 'node:fs/promises';
import { Gauge, type Registry } from 'prom-client';

/**
 * Adds gauges of the space on the disks that hold these folders; a folder that is not there has no value.
 *
 * @param folders paths by the name that becomes the label `folder`
 */
export function addDiskGauges(registry: Registry, folders: Readonly<Record<string, string>>): void {
  const add = (name: string, help: string, blocks: 'bavail' | 'blocks') =>
    new Gauge({
      name,
      help,
      labelNames: ['folder'],
      registers: [registry],
      async collect() {
        this.reset();
        for (const [folder, path] of Object.entries(folders)) {
          const disk = await statfs(path).catch(() => undefined);
          if (disk !== undefined) this.set({ folder }, disk[blocks] * disk.bsize);
        }
      },
    });
  add('recognize_storage_free_bytes', 'Space on the disk of a folder that this process may still fill', 'bavail');
  add('recognize_storage_size_bytes', 'Size of the disk of a folder', 'blocks');
}
