//! A server's queue.

use super::Request;

/// The queue: a ring whose length is a power of two.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    buffer: Box<[Request]>,
    /// Position of the first and one past the last, counted without wrapping.
    head: usize,
    tail: usize,
}

impl Ring {
    pub(super) fn new() -> Self {
        Ring { buffer: vec![Request { sent: 0, tag: 0 }; 16].into_boxed_slice(), head: 0, tail: 0 }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }

    /// The request at `offset` from the head, which must be within the length.
    #[inline(always)]
    pub(super) fn at(&self, offset: usize) -> Request {
        let mask = self.buffer.len() - 1;
        self.buffer[self.head.wrapping_add(offset) & mask]
    }

    #[inline(always)]
    pub(super) fn push(&mut self, request: Request) {
        if self.len() == self.buffer.len() {
            self.grow();
        }
        let mask = self.buffer.len() - 1;
        self.buffer[self.tail & mask] = request;
        self.tail = self.tail.wrapping_add(1);
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.len();
        let mut buffer = vec![Request { sent: 0, tag: 0 }; 2 * self.buffer.len()];
        for (offset, slot) in buffer.iter_mut().enumerate().take(len) {
            *slot = self.at(offset);
        }
        (self.buffer, self.head, self.tail) = (buffer.into_boxed_slice(), 0, len);
    }

    #[inline(always)]
    pub(super) fn drop_front(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count);
    }

    /// Takes the request at `offset` out, keeping the order of the others.
    pub(super) fn remove(&mut self, offset: usize) {
        let mask = self.buffer.len() - 1;
        for at in (0..offset).rev() {
            self.buffer[self.head.wrapping_add(at + 1) & mask] = self.at(at);
        }
        self.head = self.head.wrapping_add(1);
    }
}
