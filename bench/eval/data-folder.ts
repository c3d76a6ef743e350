import { resolve } from 'node:path';

/** Labelled pictures beside the checkout. */
export const DEFAULT_DATA = resolve(import.meta.dirname, '../../../shared/data');
