import { describe, expect, it } from 'vitest';
import { parseNames, parseNumbers } from '../../../src/models/python-literal.ts';

describe('parseNames', () => {
  it.each([
    ["{0: 'person', 1: 'car'}", ['person', 'car']],
    ["{1: 'car', 0: 'person'}", ['person', 'car']],
    ["['person', 'car']", ['person', 'car']],
    ["('person', 'car')", ['person', 'car']],
    ['["person","car"]', ['person', 'car']],
    ['{"0": "person", "1": "car"}', ['person', 'car']],
    ["  { 0 :\n'person' , }  ", ['person']],
    [`{0: "driver's cab", 1: 'a "b"', 2: 'it\\'s'}`, ["driver's cab", 'a "b"', "it's"]],
    ["{0: 'caf\\xe9', 1: 'caf\\u00e9', 2: '\\U0001f600', 3: 'a\\\\b\\tc'}", ['café', 'café', '😀', 'a\\b\tc']],
    ["{0: 'a, b: {c}'}", ['a, b: {c}']],
    ["['日本', '']", ['日本', '']],
    ['[]', []],
    ['{}', []],
  ])('reads %s', (text, names) => {
    expect(parseNames(text)).toEqual(names);
  });

  it.each([
    '',
    'person',
    "'person'",
    "{0: 'person', 2: 'car'}",
    "{0: 'person', 0: 'car'}",
    "{-1: 'person'}",
    "{0: 'person'",
    "{0: 'person}",
    '{0: person}',
    "{0: {1: 'person'}}",
    "[['person']]",
    "['person' 'car']",
    "['person', 3]",
    "[, 'person']",
    "{0 'person'}",
    "{0: 'person', 1: 'car'}; import os",
    "__import__('os')",
  ])('takes %s for no list of names', (text) => {
    expect(parseNames(text)).toBeUndefined();
  });
});

describe('parseNumbers', () => {
  it.each([
    ['[640, 480]', [640, 480]],
    ['(640, 480)', [640, 480]],
    ['640', [640]],
  ])('reads %s', (text, numbers) => {
    expect(parseNumbers(text)).toEqual(numbers);
  });

  it.each(['', '[640, x]', "['640']", '640 480', '-1', '[640, [480]]'])('takes %s for no numbers', (text) => {
    expect(parseNumbers(text)).toBeUndefined();
  });
});
