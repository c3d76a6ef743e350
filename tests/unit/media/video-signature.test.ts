import { expect, test } from 'vitest';
import { videoContainerOf } from '../../../src/media/video-signature.ts';

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const hex = (text: string) => Buffer.from(text, 'hex');
const ftyp = (brand: string) => latin1(`\0\0\0\x18ftyp${brand}\0\0\0\0isom`);

function transportStream(length: number, first: number, packets: number): Buffer {
  const bytes = Buffer.alloc(first + length * packets, 0x11);
  for (let at = first; at < bytes.length; at += length) bytes[at] = 0x47;
  return bytes;
}

test.each([
  ['video/mp4', 'mov', ftyp('isom')],
  ['video/mp4', 'mov', ftyp('mp42')],
  ['video/mp4', 'mov', ftyp('M4A ')],
  ['video/x-m4v', 'mov', ftyp('M4V ')],
  ['video/quicktime', 'mov', ftyp('qt  ')],
  ['video/3gpp', 'mov', ftyp('3gp5')],
  ['video/3gpp2', 'mov', ftyp('3g2a')],
  ['video/quicktime', 'mov', latin1('\0\0\0\x08wide\0\0\x10\0mdat')],
  ['video/quicktime', 'mov', latin1('\0\0\x10\0moov')],
  ['video/webm', 'matroska', Buffer.concat([hex('1a45dfa39f42868101428284'), latin1('webm')])],
  ['video/x-matroska', 'matroska', Buffer.concat([hex('1a45dfa3a34286810142f78101428288'), latin1('matroska')])],
  ['video/x-msvideo', 'avi', latin1('RIFF\x10\x20\0\0AVI LIST')],
  ['video/x-flv', 'flv', latin1('FLV\x01\x05\0\0\0\x09')],
  ['video/x-ms-wmv', 'asf', hex('3026b2758e66cf11a6d900aa0062ce6c00')],
  ['video/mpeg', 'mpeg', hex('000001ba44000400')],
  ['image/gif', 'gif', latin1('GIF89a\x40\x01')],
  ['video/mp2t', 'mpegts', transportStream(188, 0, 6)],
  ['video/mp2t', 'mpegts', transportStream(188, 0, 2)],
  ['video/mp2t', 'mpegts', transportStream(192, 4, 6)],
])('%s is read by the demuxer %s', (mime, demuxer, head) => {
  expect(videoContainerOf(head)).toEqual({ mime, demuxer });
});

test.each([
  ['an empty file', Buffer.alloc(0)],
  ['text', latin1('Good morning, this is a film script.')],
  ['an HLS playlist', latin1('#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n')],
  ['a concat script', latin1("ffconcat version 1.0\nfile '/etc/hostname'\n")],
  ['a DASH manifest', latin1('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">')],
  ['an SDP session', latin1('v=0\no=- 0 0 IN IP4 127.0.0.1\n')],
  ['subtitles', latin1('1\n00:00:00,000 --> 00:00:01,000\nHello\n')],
  ['a JPEG picture', hex('ffd8ffe000104a464946')],
  ['a WAV file', latin1('RIFF\x10\x20\0\0WAVEfmt ')],
  ['MP3', hex('494433040000')],
  ['an AVIF picture', ftyp('avif')],
  ['an HEIC picture', ftyp('heic')],
  ['raw H.264', hex('0000000167640028')],
  ['Matroska without a document type', hex('1a45dfa3a3428681014200')],
  ['one sync byte of a transport stream', Buffer.from([0x47, 0x40])],
  ['a long text that begins like a packet', latin1('Good morning. '.repeat(20))],
  ['a transport stream that loses its step', Buffer.concat([transportStream(188, 0, 2), Buffer.alloc(188 * 4, 1)])],
])('%s is no video', (_, head) => {
  expect(videoContainerOf(head)).toBeUndefined();
});
