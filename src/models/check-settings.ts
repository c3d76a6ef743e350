import { KIND_NAMES, KINDS, type Kind } from '../contract/kinds.ts';
import { StartError } from '../errors.ts';
import type { ModelCatalog } from './catalog.ts';

const VARIABLES: Record<Kind, string> = { face: 'FACE_MODEL', object: 'OBJECT_MODEL' };

/**
 * Refuses default models that no manifest knows. One that is known and not there yet is no wrong setting: health and
 * routes name the command that fetches it.
 *
 * @param settings the default models by kind, `auto` for the manifest's own choice
 * @throws StartError that names the variable and the models it may be
 */
export async function checkModelSettings(settings: Record<Kind, string>, catalog: ModelCatalog): Promise<void> {
  const known = await catalog.known();
  for (const kind of KIND_NAMES) {
    const wanted = settings[kind];
    if (wanted === 'auto') continue;
    const names = known.filter(({ task }) => task === kind).map(({ name }) => name);
    if (names.includes(wanted)) continue;
    throw new StartError(
      `Wrong setting: ${VARIABLES[kind]} names ${wanted}, which is no model for ${KINDS[kind].noun} detection; there are auto, ${names.join(', ')}.`,
    );
  }
}
