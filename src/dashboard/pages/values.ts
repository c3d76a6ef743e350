import type { PageValues } from '../page-values.ts';
import { byId } from './dom.ts';

/** What the page was sent with: the lists of the contract. */
export const VALUES = JSON.parse(byId('values').textContent) as PageValues;
